"""A process that posts the log to a door. Arguments: address of Kafka, of the registry, of the door, and a folder."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from adapters.backend.queue import BackendQueue
from adapters.backend.settings import BackendSettings
from adapters.backend.sink import BackendSink
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.codec.settings import RegistrySettings
from schemas.record import declare_all
from streams.delivery.delivery import Delivery
from streams.delivery.settings import DeliverySettings
from streams.kafka.settings import KafkaSettings


async def main(servers: str, registry_url: str, door: str, folder: str) -> None:
    """Deliver until it is killed."""
    declare_all()
    kafka = KafkaSettings(bootstrap_servers=servers)
    async with (
        SchemaRegistry(RegistrySettings(url=registry_url)) as registry,
        BackendQueue(BackendSettings(base_url=door)) as queue,
    ):
        sink, settings = BackendSink(queue), DeliverySettings(waits_s=(0.0,))
        await Delivery(kafka, Serde(registry), sink, settings, Path(folder), settles_s=1).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
