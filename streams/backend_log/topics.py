"""The topics of the numbered log, and how its end is read."""

from __future__ import annotations

from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from loguru import logger

from schemas.backend import CHANGES, EVENTS, BackendEvent
from schemas.codec.serde import Serde
from schemas.errors import UndecodableRecord
from streams.kafka.consumer import read_to_end
from streams.kafka.topics import KEPT, REMEMBERED, Topic, changelog_of

GROUP: Final = "backend-log"
"""The consumer group of the writers, and their transactional id."""
MEMORY: Final = changelog_of(GROUP)
LOG: Final = TopicPartition(EVENTS, 0)
BACK: Final = 64
"""Offsets that the search for the last record goes back at first: behind it are markers and aborted records."""


def log_topics() -> list[Topic]:
    """Returns the topics of the log: one partition where the order is one for all."""
    return [Topic(CHANGES, KEPT), Topic(EVENTS, KEPT, partitions=1), Topic(MEMORY, REMEMBERED, partitions=1)]


async def event_in(record: Any, serde: Serde) -> BackendEvent | None:
    """Returns the event of a record of the log; None for an order about parked ones, and for a stranger's record, which
    has no number. Raises RegistryUnavailable."""
    try:
        row = await serde.decode(EVENTS, record.value or b"")
    except UndecodableRecord as error:
        logger.error("{} {}: no event of the log, skipped: {}", EVENTS, record.offset, error.message)
        return None
    return row if isinstance(row, BackendEvent) else None


async def last_event(consumer: AIOKafkaConsumer, serde: Serde) -> BackendEvent | None:
    """Returns the log's last committed event, None for an empty log. Assigns the log to a started consumer."""
    consumer.assign([LOG])
    begin, end = (await consumer.beginning_offsets([LOG]))[LOG], (await consumer.end_offsets([LOG]))[LOG]
    back = BACK
    while True:
        start = max(begin, end - back)
        consumer.seek(LOG, start)
        found = [record async for polled in read_to_end(consumer, {LOG: end}) for record in polled]
        for record in reversed(found):
            if (event := await event_in(record, serde)) is not None:
                return event
        if start == begin:
            return None
        back *= 8
