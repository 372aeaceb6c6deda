"""Three brokers with replication 3, as the chaos run uses them: one is killed, nothing is lost, it comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from kounter.embedded import artifacts
from kounter.embedded.broker import BrokerCluster
from tests.support.cluster import PATIENCE_S

pytestmark = pytest.mark.integration

TOPIC = "cluster.test"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerCluster]:
    started = BrokerCluster(artifacts.ensure(), Path(tmp_path_factory.mktemp("cluster")), 3, heap_mb=256)
    try:
        started.start()
        yield started
    finally:
        started.stop()


async def create(servers: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic(TOPIC, 3, 3)])
    await admin.close()


async def produce(servers: str, transaction: str, numbers: range) -> None:
    settings = {"bootstrap_servers": servers, "transactional_id": transaction}
    async with AIOKafkaProducer(**settings) as producer, producer.transaction():
        for number in numbers:
            await producer.send(TOPIC, str(number).encode(), partition=number % 3)


async def consume(servers: str, count: int) -> list[int]:
    async with AIOKafkaConsumer(
        bootstrap_servers=servers, auto_offset_reset="earliest", isolation_level="read_committed"
    ) as consumer:
        consumer.assign([TopicPartition(TOPIC, partition) for partition in range(3)])
        found: list[int] = []
        deadline = time.monotonic() + PATIENCE_S
        while len(found) < count and time.monotonic() < deadline:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += [int(record.value) for record in records]
        return sorted(found)


async def in_sync(servers: str) -> set[int]:
    """How many in-sync replicas the partitions have."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        (topic,) = await admin.describe_topics([TOPIC])
        return {len(partition["isr"]) for partition in topic["partitions"]}
    finally:
        await admin.close()


def test_transactions_go_on_while_one_broker_of_three_is_away(cluster: BrokerCluster) -> None:
    servers = cluster.bootstrap_servers
    asyncio.run(create(servers))
    asyncio.run(produce(servers, "before", range(300)))
    away = cluster.brokers[0]
    away.kill()
    asyncio.run(produce(servers, "while", range(300, 600)))
    away.start()
    away.await_ready()
    deadline = time.monotonic() + PATIENCE_S
    while asyncio.run(in_sync(servers)) != {3}:
        assert time.monotonic() < deadline, "it did not catch up"
        time.sleep(0.3)
    cluster.brokers[1].kill()  # now the one that was away has to serve its part
    assert asyncio.run(consume(servers, 600)) == list(range(600))
