"""A delivery process for tests, on topics of their own.

python -m tests.support.delivery_worker <topic> <responses> <reply topic> <group> [<where it kills itself>]
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer

from adapters.bitrix24.cards import Bitrix24Cards
from adapters.bitrix24.comments import Bitrix24Comments
from adapters.bitrix24.rest import operating_time
from adapters.bitrix24.rest.client import Bitrix24Client
from adapters.bitrix24.sink import Bitrix24Sink
from kounter import logs
from kounter.settings import load
from schemas.bitrix24 import CardCommand, CardReceipt
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.parking import ParkedOrder
from schemas.record import also_on
from streams.delivery import session as module
from streams.delivery.delivery import Delivery
from streams.delivery.offset_tracker import TALLY
from streams.kafka import consumer
from streams.kafka.transactions import TransactionalWriter
from tests.support.sessions import session_s

operating_time.LIMIT_S, operating_time.WINDOW_S = math.inf, 1.0
"""A portal's limit of operating time lasts ten minutes, which would look like a stall here: it lasts a second, and ten
thousand calls on a busy machine do not use it up."""


class DeadlyCards(Bitrix24Cards):
    """Its process dies, as by kill -9, beside a call."""

    def __init__(self, client: Bitrix24Client, originator: str, where: str) -> None:
        super().__init__(client, originator)
        self._where = where

    async def deliver(self, command: CardCommand, attempt: int, uncertain: bool) -> Any:
        die_at(self._where, "before the call")
        done = await super().deliver(command, attempt, uncertain)
        die_at(self._where, "after the call")
        return done


def die_at(where: str, here: str) -> None:
    if where == here:
        os.kill(os.getpid(), signal.SIGKILL)


def deadly(commit: Callable[..., Any], where: str) -> Callable[..., Any]:
    """A writer's commit in a process that dies before or after that of an intent or an outcome."""

    async def committing(self: Any, changelog: str, writes: Any, offsets: Any) -> Any:
        made = [json.loads(entry.value) for entry in writes.get(changelog, ()) if entry.key != TALLY]
        what = "" if not made else "intent" if made[0][-1] is None else "outcome"
        die_at(where, f"before the {what}")
        offset = await commit(self, changelog, writes, offsets)
        die_at(where, f"after the {what}")
        return offset

    return committing


async def main(topic: str, responses: str, reply: str, group: str, where: str = "") -> None:
    """Deliver until SIGTERM."""
    module.SESSION_TIMEOUT_MS = session_s() * 1_000  # type: ignore[misc]  # a killed one is missed soon
    consumer.AIOKafkaConsumer = partial(AIOKafkaConsumer, heartbeat_interval_ms=1_000)  # type: ignore[attr-defined]
    TransactionalWriter.commit = deadly(TransactionalWriter.commit, where)  # type: ignore[method-assign]
    settings = load()
    logs.set_up("INFO")
    also_on(CardCommand, topic)
    also_on(ParkedOrder, topic)
    also_on(CardReceipt, responses, reply)
    async with SchemaRegistry(settings.registry) as registry, Bitrix24Client(settings.bitrix24) as client:
        serde = Serde(registry)
        await serde.prepare([topic, responses, reply])
        originator = settings.bitrix24.originator
        cards, comments = DeadlyCards(client, originator, where), Bitrix24Comments(client, originator)
        sink = Bitrix24Sink(cards, comments, topic=topic, responses=responses)
        delivery = Delivery(
            settings.kafka, serde, sink, settings.delivery, settings.data_dir,
            settles_s=settings.bitrix24.timeout_s, group=group,
        )  # fmt: skip
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, delivery.stop)
        await delivery.run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
