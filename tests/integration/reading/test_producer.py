"""The producer of records, on a real Kafka."""

from __future__ import annotations

import time
import uuid

import pytest
from aiokafka.errors import OutOfOrderSequenceNumber
from aiokafka.structs import TopicPartition

from streams.kafka.idempotent import ClockWrong
from streams.kafka.partitioner import partition_of
from streams.kafka.transactions import ProducerRecord, TransactionalWriter
from tests.support.cluster import Cluster
from tests.support.trial import Item

pytestmark = pytest.mark.integration


async def test_a_partition_whose_batch_was_given_up_is_written_again(cluster: Cluster) -> None:
    """aiokafka has counted that batch: the broker refused what followed until the process was started again."""
    key = uuid.uuid4().hex
    place = TopicPartition("trial.item", partition_of(key.encode(), cluster.kafka.partitions))
    await cluster.producer.send(Item(key, 1, "s1"))
    (await cluster.producer._producer.current())._txn_manager.increment_sequence_number(place, 1)
    with pytest.raises(OutOfOrderSequenceNumber):
        await cluster.producer.send(Item(key, 2, "s2"))
    await cluster.producer.send(Item(key, 2, "s2"))
    assert [row.status for row in await cluster.rows("trial.item", key)] == ["s1", "s2"]


async def test_a_time_that_brokers_refuse_is_told_as_the_clocks_fault(cluster: Cluster) -> None:
    """Both kinds of producer; `[Error 32]` was all that the log of a delivery said, again and again."""
    key, ahead = uuid.uuid4().hex, int(time.time() * 1_000) + 2 * 3_600_000
    partition = partition_of(key.encode(), cluster.kafka.partitions)
    told = await cluster.producer._producer.send(
        "trial.item", b"", key.encode(), partition=partition, timestamp_ms=ahead
    )
    with pytest.raises(ClockWrong):
        await told
    await cluster.producer.send(Item(key, 1, "s1"))
    writer = TransactionalWriter(cluster.kafka, f"clock-{key}", partition)
    await writer.start()
    try:
        with pytest.raises(ClockWrong):
            await writer.commit("trial.item", {"trial.item": [ProducerRecord(key.encode(), b"", timestamp=ahead)]}, {})
    finally:
        await writer.stop()
