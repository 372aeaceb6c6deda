"""Reading, lag and the view's feed on a real Kafka: transactions, markers, deletions, topics that are made anew."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaTimeoutError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from schemas.errors import BrokenSetup
from schemas.record import declare_all
from streams.aggregate import Domain
from streams.kafka.consumer import committed_consumer, started
from streams.kafka.partitioner import partition_of
from streams.kafka.reader import Point, TopicReader, parse_point
from streams.kafka.settings import KafkaSettings
from streams.kafka.topics import KEPT, ensure_topics
from streams.kafka.topics import Topic as Made
from streams.query.lag import LagMeter
from streams.query.view_feeder import ViewFeeder
from tables.layout import layout
from tables.view import View
from tests.support.cluster import PATIENCE_S, eventually

pytestmark = pytest.mark.integration
LEADS = "estate.lead"
declare_all()
LAYOUT = layout(LEADS)


class Topic:
    """A topic of its own, and writers on it."""

    def __init__(self, kafka: KafkaSettings, name: str) -> None:
        self.kafka, self.name = kafka, name

    async def make(self) -> None:
        async with self._admin() as admin:
            await admin.create_topics([NewTopic(self.name, self.kafka.partitions, 1)])

            async def led() -> bool:
                (found,) = await admin.describe_topics([self.name])
                return len(found["partitions"]) == self.kafka.partitions

            await eventually(led)

    async def delete(self) -> None:
        async with self._admin() as admin:
            await admin.delete_topics([self.name])

            async def gone() -> bool:
                return self.name not in await admin.list_topics()

            await eventually(gone)

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[Any]:
        admin = AIOKafkaAdminClient(**self.kafka.client_options())
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()

    async def write(self, records: Iterable[tuple[str, bytes | None]], *, commit: bool = True, ms: int = 0) -> None:
        """In one transaction; ``ms``: the records' time."""
        producer = AIOKafkaProducer(**self.kafka.client_options(), transactional_id=secrets.token_hex(4))
        await producer.start()
        try:
            await producer.begin_transaction()
            for key, value in records:
                raw = key.encode()
                home = partition_of(raw.rpartition(b"\0")[2], self.kafka.partitions)
                await producer.send(self.name, value, raw, partition=home, timestamp_ms=ms or None)
            await (producer.commit_transaction() if commit else producer.abort_transaction())
        finally:
            await producer.stop()


@pytest.fixture
async def kafka(stack: Any) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=stack.bootstrap_servers)


@pytest.fixture
async def topic(kafka: KafkaSettings) -> AsyncIterator[Topic]:
    topic = Topic(kafka, f"test.{secrets.token_hex(4)}-state-changelog")
    await topic.make()
    yield topic
    await topic.delete()


async def values(reader: TopicReader, topic: Topic, **how: Any) -> list[bytes]:
    return [record.value async for record in reader.read(topic.name, **how)]


async def test_only_committed_records_are_read_and_reading_ends_behind_markers(topic: Topic) -> None:
    await topic.write([("a", b"1"), ("b", b"2")])
    await topic.write([("a", b"lost"), ("b", b"lost")], commit=False)
    await topic.write([("a", b"3")])
    sizes: list[int] = []
    async with asyncio.timeout(PATIENCE_S), TopicReader(topic.kafka) as reader:
        assert sorted(await values(reader, topic, on_size=sizes.append)) == [b"1", b"2", b"3"]
        assert [record.value for record in await reader.of_key(topic.name, "a")] == [b"1", b"3"]
        assert await reader.of_key(topic.name, "never") == []
    assert sizes[0] > 3, "markers and lost records have offsets too"


async def test_from_and_to_by_time_and_by_offset(topic: Topic) -> None:
    now = datetime.now(UTC)
    begun = int(now.timestamp()) - 60
    for i in (0, 2, 1, 3):  # clocks differ
        await topic.write([("a", str(i).encode())], ms=(begun + i) * 1000)
    async with TopicReader(topic.kafka) as reader:
        home = reader.partition(topic.name, "a")
        since, until = (Point(micros=(begun + i) * 1_000_000) for i in (1, 3))
        assert await values(reader, topic, start=since, end=until) == [b"1", b"2"]
        assert await values(reader, topic, start=until) == [b"3"]
        assert await values(reader, topic, start=parse_point("9000-01-01", now)) == []
        assert len(await values(reader, topic, start=parse_point("1900-01-01", now))) == 4
        offsets = {r.value: r.offset async for r in reader.read(topic.name, partitions=[home])}
        at = offsets[b"1"]
        assert await values(reader, topic, start=Point(offset=at), end=Point(offset=at + 1)) == [b"1"]
        assert await values(reader, topic, start=Point(offset=10**9)) == []


async def test_readings_at_once_do_not_mix(topic: Topic) -> None:
    keys = [f"k{i}" for i in range(20)]
    await topic.write([(key, key.encode()) for key in keys])
    async with TopicReader(topic.kafka) as reader:
        found = await asyncio.gather(*(reader.of_key(topic.name, key) for key in keys))
    assert [[record.value for record in records] for records in found] == [[key.encode()] for key in keys]


async def test_a_topic_that_is_not_there_is_told_at_once(kafka: KafkaSettings) -> None:
    async with asyncio.timeout(10), TopicReader(kafka) as reader:
        with pytest.raises(BrokenSetup, match=r"no topic test\.none"):
            await reader.of_key("test.none", "a")


async def test_a_topic_that_was_made_a_moment_ago_is_read_in_the_partitions_that_it_has(kafka: KafkaSettings) -> None:
    """The log of the main backend has one. A delivery asked for eight of them for 40 s, and ended."""
    name = f"test.{secrets.token_hex(4)}"
    await ensure_topics(kafka, [Made(name, KEPT, partitions=1)])
    async with asyncio.timeout(PATIENCE_S), TopicReader(kafka) as reader:
        assert [record async for record in reader.last([name])] == []
        assert [record async for record in reader.read(name)] == []


async def test_a_partition_that_is_not_there_is_named(topic: Topic) -> None:
    tp = TopicPartition(topic.name, topic.kafka.partitions)
    async with started(committed_consumer(topic.kafka, request_timeout_ms=1_000)) as consumer:
        with pytest.raises(KafkaTimeoutError, match=rf"{topic.name} 8: there is no such partition, the topic has 8"):
            await consumer.end_offsets([tp])


async def test_lag_is_what_waits_and_markers_do_not(topic: Topic) -> None:
    group = f"test-{secrets.token_hex(4)}"
    tp = TopicPartition(topic.name, partition_of(b"a", topic.kafka.partitions))
    await topic.write([("a", b"1"), ("a", b"2")], ms=int(time.time() * 1000) - 60_000)
    await topic.write([("a", b"lost")], commit=False)
    consumer = AIOKafkaConsumer(**topic.kafka.client_options(), group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        async with LagMeter(topic.kafka) as meter:
            nobody = await meter.of_group(group, [topic.name, "test.none"])
            assert (nobody.assigned, nobody.members, len(nobody.topics)) == (False, (), 1)
            consumer.subscribe([topic.name])
            await eventually(lambda: consumer.assignment())
            before = await meter.of_group(group, [topic.name])
            assert (before.state, before.assigned, before.topics[0].assigned) == ("Stable", True, 8)
            assert f"{tp.topic}:{tp.partition}" in before.members[0].partitions
            assert before.records >= 2
            assert 59 < before.seconds < 120
            await consumer.commit({tp: OffsetAndMetadata(1, "")})
            assert (await meter.of_group(group, [topic.name])).records >= 1
            await consumer.commit({tp: OffsetAndMetadata(2, "")})  # a marker and an aborted record are left
            after = await meter.of_group(group, [topic.name])
            assert (after.records, after.seconds, after.topics[0].committed) == (0, 0.0, 2)
    finally:
        await consumer.stop()


def row(key: str, version: int) -> tuple[str, bytes]:
    blank = LAYOUT.blank(key)
    return f"{LEADS}\0{key}", LAYOUT.dump(blank._replace(version=version, changed_at=version, state="ACTIVE"))


@asynccontextmanager
async def feeding(topic: Topic, folder: Path) -> AsyncIterator[tuple[View, ViewFeeder]]:
    """A feeder at work; what it fails with fails the test."""
    view = View(folder / "view.sqlite", {LEADS: LAYOUT})
    feeder = ViewFeeder(topic.kafka, [Domain(topic.name.removesuffix("-state-changelog"), ())], view)
    task = asyncio.create_task(feeder.run())
    try:
        yield view, feeder
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        view.close()


async def test_the_view_follows_the_changelog(topic: Topic, tmp_path: Path) -> None:
    await topic.write([row("a", 1), row("b", 1), ("estate.of-a-newer-version\0x", b"?"), ("no aggregate", b"?")])
    await topic.write([row("a", 9)], commit=False)
    async with feeding(topic, tmp_path) as (view, feeder):
        assert await feeder.wait_for(LEADS, "b", 1, PATIENCE_S)
        await eventually(lambda: feeder.behind == 0)
        waiting = asyncio.create_task(feeder.wait_for(LEADS, "a", 2, PATIENCE_S))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        await topic.write([row("a", 2), (f"{LEADS}\0b", None)])
        assert await waiting
        await eventually(lambda: view.counts() == {LEADS: 1})
        assert not await feeder.wait_for(LEADS, "a", 3, 0.3)
        found = view.get(LEADS, "a")
        assert found is not None
        assert (found["version"], found["state"]) == (2, "ACTIVE")


async def test_a_view_goes_on_where_it_was_and_is_built_anew_for_a_new_topic(topic: Topic, tmp_path: Path) -> None:
    await topic.write([row(f"k{i}", 1) for i in range(50)])
    async with feeding(topic, tmp_path) as (view, feeder):
        await eventually(lambda: feeder.behind == 0)
        offsets = view.offsets()
    async with feeding(topic, tmp_path) as (view, feeder):
        await eventually(lambda: feeder.behind == 0)
        assert view.offsets() == offsets
        await topic.write([row("k0", 2)])
        assert await feeder.wait_for(LEADS, "k0", 2, PATIENCE_S)
    await topic.delete()
    await topic.make()
    await topic.write([row("new", 1)])
    async with feeding(topic, tmp_path) as (view, feeder):
        assert await feeder.wait_for(LEADS, "new", 1, PATIENCE_S)
        await eventually(lambda: view.counts() == {LEADS: 1})


async def test_a_view_of_another_cluster_is_forgotten(topic: Topic, tmp_path: Path) -> None:
    await topic.write([row("a", 1)])
    view = View(tmp_path / "view.sqlite", {LEADS: LAYOUT})
    assert view.belongs_to("another one")
    view.apply([], {(topic.name, partition_of(b"a", topic.kafka.partitions)): 1})
    view.close()
    async with feeding(topic, tmp_path) as (_, feeder):
        assert await feeder.wait_for(LEADS, "a", 1, PATIENCE_S)
