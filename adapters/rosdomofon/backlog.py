"""Records that the operator's topics already hold, read without the consumer group from a time to the current end."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection
from typing import Any, Final

from aiokafka.errors import KafkaTimeoutError
from aiokafka.structs import ConsumerRecord, TopicPartition
from loguru import logger

POLL_MS: Final = 100
SILENCE_S: Final = 30.0
"""Timeout without progress; aiokafka itself would wait for ever."""


async def seek_to_time(consumer: Any, tps: Collection[TopicPartition], since_ms: int) -> None:
    """Seek each partition to its first record at ``since_ms`` (milliseconds since the epoch) or later.

    Raises KafkaError.
    """
    starts = await consumer.offsets_for_times(dict.fromkeys(tps, max(0, since_ms)))
    ends = await consumer.end_offsets(list(tps))
    begins = await consumer.beginning_offsets(list(tps))
    for tp in tps:
        at = starts[tp].offset if starts.get(tp) else ends[tp]
        consumer.seek(tp, at)
        if 0 < begins[tp] == at:
            logger.warning("rosdomofon kafka: {} {} begins at offset {}: earlier records were deleted", *tp, at)


async def read_to_end(consumer: Any, tps: Collection[TopicPartition]) -> AsyncIterator[ConsumerRecord]:
    """Yields the records from the consumer's position to the end that the partitions have now. Raises KafkaError."""
    ends = await consumer.end_offsets(list(tps))
    before, moved = None, time.monotonic()
    while True:
        at = {tp: await consumer.position(tp) for tp in tps}
        if all(at[tp] >= ends[tp] for tp in tps):
            return
        if at != before:
            before, moved = at, time.monotonic()
        elif time.monotonic() - moved > SILENCE_S:
            raise KafkaTimeoutError(f"no answer for {SILENCE_S:.0f} s")
        for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
            for record in records:
                yield record
