"""Moves on purpose to another Kafka, registry or outside system; data about the old one is deleted."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.structs import ConsumerRecord

from adapters.connector import Connector, Context
from kounter.connectors import CONNECTORS, TWIN, all_topics
from kounter.embedded.runfile import RunFile
from kounter.process import identity
from kounter.settings import Settings
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.errors import BrokenSetup
from schemas.record import contracts, declare_all
from streams.delivery import ledger
from streams.kafka import identities, registry_identity
from streams.kafka.cluster import cluster_id
from streams.kafka.reader import TopicReader
from streams.kafka.settings import KafkaSettings
from streams.kafka.topics import changelog_of, ensure_topics, group_of
from streams.query.lag import LagMeter

LOCAL: Final = ("workers", "view", "delivery-*", *(glob for connector in CONNECTORS for glob in connector.files))
"""Globs in a data folder: copies of data in its Kafka, and positions there."""
LASTING: Final = ("kafka", "registry", TWIN)
"""Services that may run meanwhile: names, or prefixes of names."""


class Move(NamedTuple):
    """A move to another system. ``forgets`` describes the data that is deleted, for people."""

    before: str
    after: str
    forgets: str
    carry_out: Any
    """The coroutine function that moves."""


async def to_kafka(settings: Settings) -> Move | None:
    """Returns the move of the data folder to the Kafka that is set, None if it belongs to it. Raises BrokenSetup."""
    came = await cluster_id(settings.kafka)
    try:
        before = identity.of_folder(settings.data_dir)
    except BrokenSetup:
        before = "what can't be read"
    if came == before:
        return None
    running = [one.name for one in RunFile(settings.data_dir).read() if not one.name.startswith(LASTING)]
    if running:
        raise BrokenSetup(f"{', '.join(running)} run in {settings.data_dir}", hint="Stop them first.")
    found = [path for pattern in LOCAL for path in sorted(settings.data_dir.glob(pattern))]

    async def carry_out() -> None:
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        identity.note(settings.data_dir, came, anew=True)

    names = ", ".join(path.name for path in found) or "nothing"
    forgets = f"local copies in {settings.data_dir}: {names}. They are made again from the topics of the new one."
    return Move(f"cluster {before or 'none'}", f"cluster {came}", forgets, carry_out)


async def to_registry(settings: Settings) -> Move | None:
    """Returns the move of our topics to the registry that is set, None if it has their schemas. Raises BrokenSetup."""
    declare_all()
    topics = all_topics()
    await identity.check_kafka(settings)
    await ensure_topics(settings.kafka, topics)
    async with SchemaRegistry(settings.registry) as registry:
        try:
            await registry_identity.check(settings.kafka, registry, [topic.name for topic in topics])
        except BrokenSetup as error:
            problem = error.message
        else:
            return None

    async def carry_out() -> None:
        async with SchemaRegistry(settings.registry) as registry:
            await registry_identity.adopt(
                settings.kafka, Serde(registry), {topic for c in contracts() for topic in c.topics}
            )

    forgets = "ids of schemas by which the topics were written: records that it does not know can't be read any more"
    return Move(problem, "the registry that is set", forgets, carry_out)


async def to_system(connector: Connector, context: Context, settings: Settings) -> Move | None:
    """Returns the move of our commands and positions to the outside system that is set, None if it is the known one.

    Raises BrokenSetup while a delivery of the system runs, DeliveryError if it can't be reached.
    """
    assert connector.adoption is not None
    await identity.check_kafka(settings)
    adoption = await connector.adoption(context)
    if adoption is None:
        return None
    groups = [group_of(name) for name in connector.deliveries.topics] if connector.deliveries else []
    for group in groups:
        await _check_idle(settings.kafka, group)
    made = [record for group in groups for record in await in_ledger(settings.kafka, group)]

    async def carry_out() -> None:
        await _forget(settings.kafka, made)
        for path in (path for pattern in connector.files for path in settings.data_dir.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        for system, came in adoption.identities.items():
            await identities.settle(settings.kafka, system, lambda _, came=came: dict(came))  # type: ignore[misc]

    return Move(adoption.before, adoption.after, adoption.forgets.format(made=len(made)), carry_out)


async def in_ledger(kafka: KafkaSettings, group: str) -> list[ConsumerRecord]:
    """Returns the latest ledger record of each thing that a delivery has created, or may have."""
    latest: dict[tuple[int, bytes], ConsumerRecord] = {}
    async with TopicReader(kafka) as topics:
        if not await topics.has(changelog_of(group)):
            return []
        async for record in topics.read(changelog_of(group)):
            place = record.partition, record.key or b""
            if place[1].startswith(ledger.PREFIX) and (place not in latest or latest[place].offset < record.offset):
                latest[place] = record
    return [record for record in latest.values() if record.value is not None]


async def _forget(kafka: KafkaSettings, records: Iterable[ConsumerRecord]) -> None:
    producer = AIOKafkaProducer(**kafka.client_options(), acks="all", enable_idempotence=True)
    await producer.start()
    try:
        for record in records:
            await producer.send(record.topic, None, record.key, record.partition)
        await producer.flush()
    finally:
        await producer.stop()


async def _check_idle(kafka: KafkaSettings, group: str) -> None:
    """Raises BrokenSetup while a delivery runs: it would continue with its copy of the ledger."""
    async with LagMeter(kafka) as meter:
        if members := (await meter.of_group(group, [])).members:
            raise BrokenSetup(f"{len(members)} processes of {group} run", hint="Stop them, on all machines, first.")
