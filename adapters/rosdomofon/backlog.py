"""What already stands on the operator's topics, read without the group: from a moment on, to where they end now."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection
from typing import Any, Final

from aiokafka.errors import KafkaTimeoutError
from aiokafka.structs import ConsumerRecord, TopicPartition
from loguru import logger

POLL_MS: Final = 100
SILENCE_S: Final = 30.0
"""A cluster that brings nothing for so long is given up: aiokafka itself would wait for ever."""


async def seek_to_time(consumer: Any, tps: Collection[TopicPartition], since_ms: int) -> None:
    """To the first record of that time or later in each partition. Raises KafkaError."""
    starts = await consumer.offsets_for_times(dict.fromkeys(tps, max(0, since_ms)))
    ends = await consumer.end_offsets(list(tps))
    begins = await consumer.beginning_offsets(list(tps))
    for tp in tps:
        at = starts[tp].offset if starts.get(tp) else ends[tp]
        consumer.seek(tp, at)
        if 0 < begins[tp] == at:
            logger.warning("rosdomofon kafka: {} {} begins at {}: what stood before was deleted", *tp, at)


async def read_to_end(consumer: Any, tps: Collection[TopicPartition]) -> AsyncIterator[ConsumerRecord]:
    """From where the consumer stands. Raises KafkaError."""
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
