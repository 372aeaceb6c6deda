"""Records that are deleted before they are read: every consumer says so and counts them. A start refuses topics that
forget."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.structs import TopicPartition
from loguru import logger

from schemas.bitrix24 import CardAction
from streams.delivery.state import DeliveryStates
from streams.kafka.deleted_records import deleted
from streams.kafka.offsets import StatesDeleted
from streams.kafka.partitioner import partition_of
from streams.kafka.reader import TopicReader
from streams.kafka.retention import Forgets
from streams.kafka.settings import KafkaSettings
from streams.kafka.topics import KEPT, Topic, ensure_topics
from streams.query.lag import LagMeter
from tests.integration.lane.test_lane import has_version
from tests.support.cluster import READY, Cluster, Worker, eventually
from tests.support.deliveries import Bench, Port
from tests.support.trial import TRIAL, Item

pytestmark = pytest.mark.integration
GONE = "were deleted before they were read"


@pytest.fixture
async def admin(stack: Any) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.bootstrap_servers)
    await admin.start()
    yield admin
    await admin.close()


@pytest.fixture
def said() -> Any:
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(str(message)), level="WARNING")
    yield lines
    logger.remove(sink)


async def end_of(kafka: KafkaSettings, tp: TopicPartition) -> int:
    async with AIOKafkaConsumer(**kafka.client_options()) as consumer:
        ends: dict[TopicPartition, int] = await consumer.end_offsets([tp])
        return ends[tp]


async def test_a_lane_goes_on_behind_what_was_deleted_and_says_so(
    cluster: Cluster, admin: AIOKafkaAdminClient, tmp_path: Path
) -> None:
    key = uuid.uuid4().hex
    tp = TopicPartition("trial.item", partition_of(key.encode(), cluster.kafka.partitions))
    worker = Worker(cluster.kafka, cluster.registry, tmp_path)
    try:
        await worker.until(READY)
        await cluster.producer.send(Item(key, 1, "new"))
        await eventually(lambda: has_version(cluster, "trial.item", key, 1))
        await asyncio.sleep(1.0)  # the position is committed with it
        worker.stop()
        first = await end_of(cluster.kafka, tp)
        for n in (2, 3, 4):
            await cluster.producer.send(Item(key, n, f"{n}"))
        last = await end_of(cluster.kafka, tp)
        await admin.delete_records({tp: RecordsToDelete(before_offset=last - 1)})
        async with LagMeter(cluster.kafka) as meter:
            lag = await meter.of_domain(TRIAL)
        assert next(t.deleted for t in lag.topics if t.topic == tp.topic) == last - 1 - first
        worker = Worker(cluster.kafka, cluster.registry, tmp_path)
        await worker.until(GONE)
        assert f"the records {first} to {last - 2} {GONE}" in worker.text()
        await eventually(lambda: has_version(cluster, "trial.item", key, 2))
        assert worker.text().count(GONE) == 1
    finally:
        worker.kill()
        await cluster.bury(TRIAL.name)


async def test_a_delivery_goes_on_behind_what_was_deleted_and_does_nothing_twice(
    bench: Bench, admin: AIOKafkaAdminClient, said: list[str]
) -> None:
    port = Port()
    await run(bench, port, bench.command("a", CardAction.CREATE_CARD, "NEW"), answered=1)
    home = partition_of(f"{bench.id}-a".encode(), bench.cluster.kafka.partitions)
    tp = TopicPartition(bench.topic, home)
    lost = [bench.command("a", CardAction.MOVE_CARD, f"{n}") for n in range(3)]
    await bench.send(*lost)
    await admin.delete_records({tp: RecordsToDelete(before_offset=await end_of(bench.cluster.kafka, tp))})
    stats = await run(bench, port, bench.command("a", CardAction.MOVE_CARD, "LAST"), answered=2)
    assert stats.deleted == len(lost)
    assert any(GONE in line for line in said)
    assert [command for _, command, _ in port.calls] == ["1", "5"]


async def run(bench: Bench, port: Port, *commands: Any, answered: int) -> Any:
    """By a delivery that comes and goes. Returns what it counts."""
    await bench.send(*commands)
    delivery = bench.delivery(port)
    running = asyncio.create_task(delivery.run())
    await bench.all_answered(answered)
    delivery.stop()
    await running
    return delivery.stats


async def test_any_consumer_tells_of_what_is_deleted_while_it_reads(
    stack: Any, admin: AIOKafkaAdminClient, said: list[str]
) -> None:
    kafka, tp = KafkaSettings(bootstrap_servers=stack.bootstrap_servers), TopicPartition(f"x-{uuid.uuid4().hex}", 0)
    await admin.create_topics([NewTopic(tp.topic, 1, 1)])
    async with Cluster(stack, TRIAL) as cluster:
        for n in range(10):
            await cluster.raw.send_and_wait(tp.topic, b"%d" % n, partition=0)
        options = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "group_id": tp.topic}
        async with AIOKafkaConsumer(**kafka.client_options(), **options) as consumer:
            consumer.assign([tp])
            assert [r.value for r in (await consumer.getmany(timeout_ms=9_000, max_records=2))[tp]] == [b"0", b"1"]
            await admin.delete_records({tp: RecordsToDelete(before_offset=7)})
            consumer.seek(tp, 2)
            assert [r.value for r in (await consumer.getmany(timeout_ms=9_000))[tp]] == [b"7", b"8", b"9"]
            assert deleted(consumer) == deleted(consumer, [tp.topic]) == 5
            assert deleted(consumer, ["another"]) == 0
    assert any("the records 2 to 6 were deleted" in line for line in said)
    reading = kafka.model_copy(update={"partitions": 1})
    async with TopicReader(reading) as topics:
        assert [r.offset async for r in topics.read(tp.topic)] == [7, 8, 9]
    assert any("its history begins at 7" in line for line in said)


async def test_a_delivery_that_forgot_does_not_begin_anew(
    bench: Bench, admin: AIOKafkaAdminClient, said: list[str]
) -> None:
    kafka, topic = bench.cluster.kafka, f"memory-{bench.id}"
    await admin.create_topics([NewTopic(topic, kafka.partitions, 1)])  # of a compacted one Kafka deletes nothing
    for n in range(4):
        await bench.cluster.raw.send_and_wait(topic, b"v", b"%d" % n, partition=0)
    await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=3)})
    with pytest.raises(StatesDeleted, match="begins at 3, read up to 0"):
        await DeliveryStates(kafka, topic, bench.folder / "a").open([0, 1])
    warned = DeliveryStates(kafka.model_copy(update={"retention": "warn"}), topic, bench.folder / "b")
    memories = await warned.open([0])
    assert memories[0].get(b"3") == b"v"
    warned.close()
    assert any("states are missing" in line for line in said)


@pytest.mark.parametrize("config", [{"retention.ms": "604800000"}, {"retention.bytes": "1000000"}, {}])
async def test_a_start_refuses_topics_that_forget(
    config: dict[str, str], stack: Any, admin: AIOKafkaAdminClient, said: list[str]
) -> None:
    """``{}``: whatever the broker's default is, a week in most clusters."""
    kafka, name = KafkaSettings(bootstrap_servers=stack.bootstrap_servers), f"x-{uuid.uuid4().hex}"
    wanted = [Topic(name, KEPT)]
    await admin.create_topics([NewTopic(name, kafka.partitions, 1, topic_configs=config)])
    with pytest.raises(Forgets) as refused:
        await ensure_topics(kafka, wanted)
    assert name in refused.value.message
    assert "retention.ms=-1,retention.bytes=-1" in refused.value.hint
    assert "KOUNTER_KAFKA__RETENTION=warn" in refused.value.hint
    await ensure_topics(kafka.model_copy(update={"retention": "warn"}), wanted)
    assert any("topics that forget" in line for line in said)


async def test_what_we_make_is_kept(stack: Any) -> None:
    kafka, name = KafkaSettings(bootstrap_servers=stack.bootstrap_servers), f"x-{uuid.uuid4().hex}"
    assert await ensure_topics(kafka, [Topic(name, KEPT)]) == [name]
    assert await ensure_topics(kafka, [Topic(name, KEPT)]) == []
