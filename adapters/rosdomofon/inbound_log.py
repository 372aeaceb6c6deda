"""Messages on ``MESSAGES_IN_…``, read without the consumer group: one that stands there is not missing.

It may be in the bridge's backlog, or belong to another member of the group; the reconciliation would send it a second
time otherwise.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from aiokafka import AIOKafkaConsumer

from adapters.rosdomofon.backlog import read_to_end, seek_to_time
from adapters.rosdomofon.foreign import rows_of
from adapters.rosdomofon.settings import IN, RosDomofonKafkaSettings
from schemas.domofon import Message
from schemas.errors import UndecodableRecord


async def heard(settings: RosDomofonKafkaSettings, since: float, abonents: Collection[str]) -> list[Message]:
    """Return the messages of these abonents from ``since`` (seconds since the epoch) to the end. Raises KafkaError."""
    topics = [f"{IN}{company}" for company in settings.companies]
    consumer: Any = AIOKafkaConsumer(
        *topics, **settings.client_options(), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    found: list[Message] = []
    try:
        await consumer.start()  # without a group it has all partitions
        tps = list(consumer.assignment())
        await seek_to_time(consumer, tps, int(since * 1_000))
        async for record in read_to_end(consumer, tps):
            try:
                row, abonent = rows_of(record)
            except UndecodableRecord:
                continue
            if abonent is not None and abonent.ext_id in abonents:
                found.append(row)
    finally:
        await consumer.stop()
    return found
