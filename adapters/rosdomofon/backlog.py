"""Records that the operator's topics already hold, read without the consumer group from a time to the current end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Any

from aiokafka.errors import KafkaTimeoutError
from aiokafka.structs import ConsumerRecord, TopicPartition
from loguru import logger

from streams.kafka.consumer import KafkaSilent
from streams.kafka.consumer import read_to_end as read_polls


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
    try:
        async for records in read_polls(consumer, await consumer.end_offsets(list(tps))):
            for record in records:
                yield record
    except KafkaSilent as error:
        raise KafkaTimeoutError(error.message) from error
