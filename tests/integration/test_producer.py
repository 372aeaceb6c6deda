"""The producer of records, on a real Kafka."""

from __future__ import annotations

import uuid

import pytest
from aiokafka.errors import OutOfOrderSequenceNumber
from aiokafka.structs import TopicPartition

from schemas.kafka import partition_of
from tests.integration.cluster import Cluster
from tests.trial import Item

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
