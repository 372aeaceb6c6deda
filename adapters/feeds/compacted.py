"""Reads one partition of a compacted topic from its begin to its end, in the order of offsets."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiokafka import TopicPartition

from streams.kafka.consumer import committed_consumer, read_to_end, started
from streams.kafka.settings import KafkaSettings


async def entries(kafka: KafkaSettings, topic: str, partition: int) -> AsyncIterator[tuple[bytes, bytes | None]]:
    """Yields key and value of each record; none of a topic that is not there. The last one of a key counts.

    Raises KafkaError, KafkaSilent.
    """
    tp = TopicPartition(topic, partition)
    async with started(committed_consumer(kafka)) as consumer:
        if topic not in await consumer.topics():
            return
        consumer.assign([tp])
        ends = await consumer.end_offsets([tp])
        await consumer.seek_to_beginning(tp)
        async for records in read_to_end(consumer, ends):
            for record in records:
                yield record.key or b"", record.value
