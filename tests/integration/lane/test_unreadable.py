"""Compressed records are read; a batch that can't be unpacked stops its partition alone, until it is passed over."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from adapters.nest.bridge import NestBridge
from adapters.nest.settings import NestSettings
from adapters.rosdomofon.kafka.group_reader import GroupReader
from adapters.rosdomofon.kafka.outbound_log import OutboundLog
from adapters.rosdomofon.settings import IN, OUT, SIGN_UPS, RosDomofonKafkaSettings
from schemas.bitrix24 import CardAction
from schemas.errors import DeliveryUnavailable, InvalidInput, UndecodableRecord
from streams.domains import core_users
from streams.domains.crm import CRM
from streams.kafka import dead_letters
from streams.kafka.batches import passing, unpacking
from streams.kafka.batches.compression import MOST_BYTES
from streams.kafka.batches.headers import UnreadableBatch
from streams.kafka.partitioner import partition_of
from streams.kafka.reader import TopicReader
from streams.kafka.topics import KEPT, Topic, ensure_topics
from streams.query.lag import LagMeter
from tests.integration.lane.test_lane import has_version
from tests.integration.systems.test_nest import message
from tests.support.cluster import Cluster, Worker, eventually
from tests.support.deliveries import Bench, Port
from tests.support.trial import Item

pytestmark = pytest.mark.integration
CODECS = ("gzip", "snappy", "lz4", "zstd")


def producer(cluster: Cluster, codec: str) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        **cluster.kafka.client_options(), compression_type=codec, max_request_size=MOST_BYTES * 2,
        max_batch_size=MOST_BYTES * 2,
    )  # fmt: skip


@pytest.fixture
async def bomb(cluster: Cluster) -> AsyncIterator[Any]:
    """A batch of a few kilobytes that is larger than we unpack: what brokers take."""

    async def send(topic: str, partition: int) -> int:
        sent = await sending.send_and_wait(topic, bytes(MOST_BYTES + 1), b"bomb", partition=partition)
        return int(sent.offset)

    sending = producer(cluster, "zstd")
    await sending.start()
    yield send
    await sending.stop()


async def compress(cluster: Cluster, topic: str, codec: str) -> None:
    """As a setting of the topic: the broker does it."""
    admin = AIOKafkaAdminClient(**cluster.kafka.client_options())
    await admin.start()
    try:
        configs = {"compression.type": codec, "retention.ms": "-1", "retention.bytes": "-1"}  # others would be unset
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs=configs)
        await admin.alter_configs([resource])
    finally:
        await admin.close()


async def test_records_of_all_codecs_are_folded_and_read(cluster: Cluster, worker: Worker) -> None:
    key = uuid.uuid4().hex
    home = partition_of(key.encode(), cluster.kafka.partitions)
    number = 0

    def item() -> bytes:
        nonlocal number
        number += 1
        return cluster.serde.encode("trial.item", Item(key, number, f"s{number}", "long " * 100))

    for codec in CODECS:
        async with producer(cluster, codec) as sending:
            await sending.send_and_wait("trial.item", item(), key.encode(), partition=home)
    try:
        for codec in CODECS:
            await compress(cluster, "trial.item", codec)
            await cluster.raw.send_and_wait("trial.item", item(), key.encode(), partition=home)
    finally:
        await compress(cluster, "trial.item", "producer")
    await eventually(lambda: has_version(cluster, "trial.item", key, 8))
    assert [moved.new for moved in await cluster.rows("trial.out", key)] == [f"s{n}" for n in range(1, 9)]
    async with TopicReader(cluster.kafka) as topics:
        assert len(await topics.of_key("trial.item", key)) == 8


def keys_apart(cluster: Cluster) -> tuple[str, str]:
    """On two partitions."""
    first = second = uuid.uuid4().hex
    while partition_of(second.encode(), cluster.kafka.partitions) == partition_of(
        first.encode(), cluster.kafka.partitions
    ):
        second = uuid.uuid4().hex
    return first, second


async def kounter(cluster: Cluster, folder: Any, *arguments: object) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "KOUNTER_KAFKA__BOOTSTRAP_SERVERS": cluster.kafka.bootstrap_servers,
        "KOUNTER_REGISTRY__URL": cluster.registry.url,
        "KOUNTER_DATA_DIR": str(folder),
    }
    command = [sys.executable, "-m", "kounter", *map(str, arguments)]
    return await asyncio.to_thread(subprocess.run, command, env=env, capture_output=True, text=True, check=False)


async def test_a_partition_stands_alone_and_goes_on_when_it_is_passed_over(
    cluster: Cluster, worker: Worker, bomb: Any, tmp_path: Any
) -> None:
    key, other = keys_apart(cluster)
    home = partition_of(key.encode(), cluster.kafka.partitions)
    await cluster.producer.send(Item(key, 1, "new"))
    offset = await bomb("trial.item", home)
    await cluster.producer.send(Item(key, 2, "sold"))
    await worker.until(f"trial.item partition {home} stands at offset {offset}")
    await cluster.producer.send(Item(other, 1, "new"))
    await eventually(lambda: has_version(cluster, "trial.item", other, 1))
    assert await has_version(cluster, "trial.item", key, 1)
    assert not await has_version(cluster, "trial.item", key, 2)
    async with LagMeter(cluster.kafka) as meter:
        (stands,) = (await meter.of_group("trial", ["trial.item"])).unreadable
    assert (stands.id.topic, stands.id.partition, stands.offset, stands.last) == ("trial.item", home, offset, offset)
    async with TopicReader(cluster.kafka) as topics:
        with pytest.raises(UnreadableBatch, match=f"trial.item partition {home} stands at offset {offset}"):
            await topics.of_key("trial.item", key)
    for readable in (offset - 1, offset + 1):
        with pytest.raises(InvalidInput) as refused:
            await passing.find(cluster.kafka, "trial.item", home, readable, isolation="read_committed")
        assert "can be read" in refused.value.hint
    passed = await kounter(cluster, tmp_path, "dead-letters", "pass", "trial.item", home, offset, "--json")
    assert passed.returncode == 0, passed
    done = json.loads(passed.stdout)
    assert (done["first"], done["last"], done["records"]) == (offset, offset, 1)
    await eventually(lambda: has_version(cluster, "trial.item", key, 2))
    assert [moved.new for moved in await cluster.rows("trial.out", key)] == ["new", "sold"]
    with pytest.raises(InvalidInput) as again:
        await passing.find(cluster.kafka, "trial.item", home, offset, isolation="read_committed")
    assert f"was passed over: `kounter dead-letters show {done['dead_letter']}" in again.value.hint
    async with TopicReader(cluster.kafka) as topics:
        assert len(await topics.of_key("trial.item", key)) == 2
    letters = [r for r in await cluster.read(dead_letters.TOPIC) if f"{r.partition}:{r.offset}" == done["dead_letter"]]
    assert passing.batch_of(letters[0]) == stands.id
    assert letters[0].value == stands.raw
    with pytest.raises(UndecodableRecord, match="a batch that could not be unpacked"):
        dead_letters.original(letters[0])
    again_at = await bomb("trial.item", home)
    words = f"trial.item partition {home} stands at offset {again_at}"
    await worker.until(words)
    assert worker.stop() == 64
    assert words in worker.text().splitlines()[-1]
    found = await passing.find(cluster.kafka, "trial.item", home, again_at, isolation="read_committed")
    await passing.keep(cluster.kafka, found)


async def test_a_delivery_stands_in_one_partition_and_goes_on(bench: Bench, bomb: Any) -> None:
    port, cluster = Port(), bench.cluster
    first, second = keys_apart(cluster)
    delivery = bench.delivery(port)
    running = asyncio.create_task(delivery.run())
    try:
        command = bench.command(first, CardAction.CREATE_CARD, "NEW")
        home = partition_of(command.ext_id.encode(), cluster.kafka.partitions)
        offset = await bomb(bench.topic, home)
        await bench.send(command)
        others = [bench.command(f"{second}-{n}", CardAction.CREATE_CARD, "NEW") for n in range(16)]
        elsewhere = [c for c in others if partition_of(c.ext_id.encode(), cluster.kafka.partitions) != home]
        await bench.send(*elsewhere)
        await bench.all_answered(len(elsewhere))
        await eventually(lambda: [batch.offset for batch in unpacking.unreadable_here()] == [offset])
        assert all(key != command.ext_id for key, *_ in port.calls)
        found = await passing.find(cluster.kafka, bench.topic, home, offset, isolation="read_committed")
        assert isinstance(found, UnreadableBatch)
        await passing.keep(cluster.kafka, found)
        await bench.all_answered(len(elsewhere) + 1)
        assert unpacking.unreadable_here() == []
        assert delivery.stats.sessions == 1
    finally:
        delivery.stop()
        await running


async def test_the_operators_bridge_stands_in_one_topic_and_what_was_said_is_not_guessed(
    cluster: Cluster, bomb: Any
) -> None:
    ours = f"T{uuid.uuid4().hex[:8]}"
    settings = RosDomofonKafkaSettings(
        bootstrap_servers=cluster.kafka.bootstrap_servers, group_id=f"issued-{ours}", companies=(ours,)
    )
    said, signed, out = f"{IN}{ours}", f"{SIGN_UPS}{ours}", f"{OUT}{ours}"
    await ensure_topics(cluster.kafka, [Topic(name, KEPT) for name in (said, signed, out)])
    offset = await bomb(said, 1)
    await bomb(out, 1)
    await cluster.raw.send_and_wait(said, b"behind", partition=1)
    await cluster.raw.send_and_wait(signed, b"elsewhere", partition=1)
    log = OutboundLog(settings, out)
    with pytest.raises(DeliveryUnavailable, match=f"{out} partition 1 stands at offset 0"):
        await log.find([0, 1], b"words", 1_000)
    await log.close()
    reader = GroupReader(settings)
    await reader.start()
    try:
        assert await values(reader) == [b"elsewhere"]
        assert [batch.id.topic for batch in unpacking.unreadable_here()] == [said]
        found = await passing.find(settings, said, 1, offset, isolation="read_uncommitted")
        await passing.keep(cluster.kafka, found)
        assert await values(reader) == [b"behind"]
    finally:
        await reader.stop()


async def values(reader: GroupReader) -> list[bytes | None]:
    async with asyncio.timeout(30):
        while not (batch := await reader.batch()):
            pass
    reader.done(batch)
    return [record.value for records in batch.values() for record in records]


async def test_nest_stands_in_one_partition_and_goes_on(stack: Any, bomb: Any) -> None:
    queue = f"queue-{uuid.uuid4().hex[:8]}"
    async with Cluster(stack, CRM) as cluster:
        await ensure_topics(cluster.kafka, [Topic(queue, KEPT)])
        bridge = NestBridge(cluster.kafka, cluster.serde, NestSettings(queue=queue))
        await bomb(queue, 0)
        first = random.randrange(10**9, 10**12)
        for id, partition in ((first, 0), (first + 1, 1)):
            await cluster.send_raw(queue, None, message(id), partition=partition)
        running = asyncio.create_task(bridge.run())
        try:
            await eventually(lambda: is_asked(cluster, first + 1))
            assert not await is_asked(cluster, first)
            found = await passing.find(cluster.kafka, queue, 0, 0, isolation="read_committed")
            await passing.keep(cluster.kafka, found)
            await eventually(lambda: is_asked(cluster, first))
        finally:
            bridge.stop()
            await running


async def is_asked(cluster: Cluster, id: int) -> bool:
    return len(await cluster.read(core_users.USERS, str(id))) == 1
