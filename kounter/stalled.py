"""Stalled commands: the tries of the policy are used up, and a delivery goes on trying them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from aiokafka.admin import AIOKafkaAdminClient

from kounter.history.reader import Reader
from kounter.parked import Placed
from schemas.errors import UndecodableRecord
from schemas.parking import ParkedAction, ParkedOrder
from streams.delivery.offset_tracker import OffsetTracker
from streams.kafka.offsets import committed_offsets
from streams.kafka.reader import Point


class Stalled(NamedTuple):
    """A command that is being retried, or an order that retries a parked one."""

    topic: str
    partition: int
    offset: int
    key: str
    command_id: str | None
    """None: it is an order of `kounter parked retry`."""


async def read_stalled(reader: Reader, group: str, topic: str) -> list[Stalled]:
    """Returns the stalled commands of a delivery, as its committed offsets name them, by partition and offset.

    Raises KafkaError, and BrokenSetup if there is no such topic.
    """
    admin = AIOKafkaAdminClient(**reader.kafka.client_options())
    try:
        await admin.start()
        committed = await committed_offsets(admin, group)
    finally:
        await admin.close()
    found = []
    for tp, at in sorted(committed.items()):
        offsets = OffsetTracker.restore(at.offset, at.metadata).stalled_offsets if tp.topic == topic else []
        if not offsets:
            continue
        start, end = Point(offset=offsets[0]), Point(offset=offsets[-1] + 1)
        async for record in reader.topics.read(topic, start=start, end=end, partitions=[tp.partition]):
            if record.offset in offsets and record.key is not None and record.value is not None:
                command_id = await _command_id(reader, topic, record.value)
                key = record.key.decode("utf-8", "replace")
                found.append(Stalled(topic, tp.partition, record.offset, key, command_id))
    return found


async def _command_id(reader: Reader, topic: str, value: bytes) -> str | None:
    try:
        return getattr(await reader.serde.decode(topic, value), "command_id", None)
    except UndecodableRecord:
        return None


def parks(stalled: Iterable[Stalled], by: str) -> list[Placed]:
    """Returns an order for each command, that parks it."""
    return [
        Placed(one.topic, one.partition, ParkedOrder(one.key, ParkedAction.PARK, (one.offset,), None, by))
        for one in stalled
    ]
