"""Compressed records are read; a batch that can't be unpacked stops its partition alone, until it is passed over."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas import unpacking
from schemas.batches import UnreadableBatch
from schemas.bitrix24 import CardAction
from schemas.decompress import MOST_BYTES
from schemas.kafka import partition_of
from streams import deadletters, passing
from streams.lag import LagMeter
from streams.reading import TopicReader
from tests.integration.cluster import Cluster, Worker, eventually
from tests.integration.deliveries import Bench, Port
from tests.integration.test_lane import has_version
from tests.trial import Item

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
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs={"compression.type": codec})
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
    for refused in (offset - 1, offset + 1):
        said = await kounter(cluster, tmp_path, "dead-letters", "pass", "trial.item", home, refused)
        assert said.returncode == 1
        assert "can be read" in said.stderr, said
    passed = await kounter(cluster, tmp_path, "dead-letters", "pass", "trial.item", home, offset, "--json")
    assert passed.returncode == 0, passed
    done = json.loads(passed.stdout)
    assert (done["first"], done["last"], done["records"]) == (offset, offset, 1)
    await eventually(lambda: has_version(cluster, "trial.item", key, 2))
    assert [moved.new for moved in await cluster.rows("trial.out", key)] == ["new", "sold"]
    again = await kounter(cluster, tmp_path, "dead-letters", "pass", "trial.item", home, offset)
    assert again.returncode == 1
    assert "was passed over" in again.stderr, again
    letters = [r for r in await cluster.read(deadletters.TOPIC) if f"{r.partition}:{r.offset}" == done["dead_letter"]]
    assert passing.batch_of(letters[0]) == stands.id
    assert letters[0].value == stands.raw
    shown = await kounter(cluster, tmp_path, "dead-letters", "retry", done["dead_letter"])
    assert shown.returncode == 1
    assert "Produce its records again" in " ".join(shown.stdout.split())
    assert worker.stop() == 0


async def test_a_worker_that_is_told_to_end_while_it_stands_leaves_with_64(
    cluster: Cluster, worker: Worker, bomb: Any
) -> None:
    offset = await bomb("trial.item", 5)
    words = f"trial.item partition 5 stands at offset {offset}"
    await worker.until(words)
    assert worker.stop() == 64
    assert words in worker.text().splitlines()[-1]
    found = await passing.find(cluster.kafka, "trial.item", 5, offset, isolation="read_committed")
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
