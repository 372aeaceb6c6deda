"""A delivery process for tests, on topics of their own.

python -m tests.delivery_worker <topic> <responses> <reply topic> <group>
"""

from __future__ import annotations

import asyncio
import signal
import sys

from adapters.bitrix24.cards import Bitrix24Cards
from adapters.bitrix24.client import Bitrix24Client
from kounter import logs
from kounter.settings import load
from schemas.bitrix24 import CardCommand, CardReceipt
from schemas.parking import ParkedOrder
from schemas.record import also_on
from schemas.registry import SchemaRegistry
from schemas.serde import Serde
from streams.cards import Cards
from streams.delivery import Delivery


async def main(topic: str, responses: str, reply: str, group: str) -> None:
    """Deliver until SIGTERM."""
    settings = load()
    logs.set_up("INFO")
    also_on(CardCommand, topic)
    also_on(ParkedOrder, topic)
    also_on(CardReceipt, responses, reply)
    async with SchemaRegistry(settings.registry) as registry, Bitrix24Client(settings.bitrix24) as client:
        serde = Serde(registry)
        await serde.prepare([topic, responses, reply])
        port = Bitrix24Cards(client, settings.bitrix24.originator)
        delivery = Delivery(
            settings.kafka, serde, Cards(topic, responses), port, settings.delivery, settings.data_dir, group=group
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, delivery.stop)
        await delivery.run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
