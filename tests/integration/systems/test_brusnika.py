"""The feed into a real Kafka: the twin's changes become records, the position outlives the process."""

from __future__ import annotations

import asyncio
import secrets
from functools import partial
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pydantic import SecretStr

from adapters.brusnika.dead_letters import keep
from adapters.brusnika.feed import BrusnikaFeed
from adapters.brusnika.position import KafkaPositions, Position
from adapters.brusnika.settings import BrusnikaSettings
from adapters.brusnika.twin.changes import changes
from adapters.brusnika.twin.server import BrusnikaTwin
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.codec.settings import RegistrySettings
from schemas.estate import Building, City, Lead, LeadOp, Premise, Project, Section
from schemas.record import also_on
from streams.kafka import dead_letters
from streams.kafka.consumer import committed_consumer, read_to_end, started
from streams.kafka.producer import RecordProducer
from streams.kafka.settings import KafkaSettings
from streams.kafka.topics import DEAD_LETTERS, Topic, ensure_topics
from tests.support.cluster import PATIENCE_S

pytestmark = pytest.mark.integration
FRAMES = 1_000


@pytest.fixture
def kafka(stack: Any) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=stack.bootstrap_servers)


async def new_topic(kafka: KafkaSettings) -> str:
    """A topic of its own for this run, of all the estate's records."""
    topic = f"test.feed.{secrets.token_hex(4)}"
    for cls in (City, Project, Building, Section, Premise, Lead, LeadOp):
        also_on(cls, topic)
    admin = AIOKafkaAdminClient(**kafka.client_options())
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=kafka.partitions, replication_factor=1)])
    finally:
        await admin.close()
    return topic


async def read_all(kafka: KafkaSettings, topic: str, serde: Serde, count: int) -> list[Any]:
    consumer = AIOKafkaConsumer(topic, **kafka.client_options(), auto_offset_reset="earliest")
    await consumer.start()
    rows: list[Any] = []
    try:
        async with asyncio.timeout(PATIENCE_S):
            while len(rows) < count:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    rows += [await serde.decode(topic, record.value) for record in records]
    finally:
        await consumer.stop()
    return rows


async def read_letters(kafka: KafkaSettings, source: str) -> list[Any]:
    """The dead letters of a source."""
    found = list[Any]()
    async with started(committed_consumer(kafka)) as consumer:
        partitions = [TopicPartition(dead_letters.TOPIC, n) for n in range(kafka.partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        async for polled in read_to_end(consumer, await consumer.end_offsets(partitions)):
            found += [r for r in polled if dict(r.headers).get("__connect.errors.topic") == source.encode()]
    return found


async def test_notes_are_kept_beside_the_position(kafka: KafkaSettings) -> None:
    topic = f"test.position.{secrets.token_hex(4)}"
    async with KafkaPositions(kafka, "brusnika", topic=topic) as positions:
        await positions.save(7)
        await positions.note("status", {"connected": False})
        await positions.note("status", {"connected": True})
        await positions.note("slots/p/k", {"free": [["2027-02-01", "10:00"]]})
        assert await positions.load_notes() == {
            "status": {"connected": True}, "slots/p/k": {"free": [["2027-02-01", "10:00"]]},
        }  # fmt: skip
        assert await positions.load() == 7


async def test_positions_survive_and_belong_to_their_source(kafka: KafkaSettings) -> None:
    topic = f"test.position.{secrets.token_hex(4)}"
    async with KafkaPositions(kafka, "brusnika", topic=topic) as positions:
        assert await positions.load() is None
        for update_id in (5, 2**40):
            await positions.save(update_id)
    async with (
        KafkaPositions(kafka, "brusnika", topic=topic) as again,
        KafkaPositions(kafka, "x", topic=topic) as other,
    ):
        assert await again.load() == 2**40
        assert await other.load() is None


async def test_a_reset_holds_until_the_feed_has_taken_it(kafka: KafkaSettings) -> None:
    """A feed that runs saves what it had for a while."""
    topic = f"test.position.{secrets.token_hex(4)}"
    async with KafkaPositions(kafka, "brusnika", topic=topic) as positions:
        await positions.save(Position(1_000, {"city": 1_000, "section": 7}))
        wanted = await positions.reset(5, anew=True)
        assert (wanted, wanted.apart, wanted.above) == (5, {}, 3_000)
        await positions.save(Position(1_001))
        taken = await positions.load()
        assert taken is not None
        assert (taken, taken.reset, taken.above) == (5, wanted.reset, 3_000)
        await positions.save(Position(9, reset=taken.reset, above=taken.above))
        assert await positions.load() == 9
        assert (await positions.reset(0)).above == 3_000
        loaded = await positions.load()
        assert loaded is not None
        assert loaded == 0


async def test_every_good_frame_becomes_a_record_in_the_order_of_its_key(stack: Any, kafka: KafkaSettings) -> None:
    topic = await new_topic(kafka)
    await ensure_topics(kafka, [Topic(dead_letters.TOPIC, DEAD_LETTERS)])
    stream = list(changes(7, FRAMES))
    good: list[Any] = [c.row for c in stream if c.row is not None]
    async with (
        SchemaRegistry(RegistrySettings(url=stack.registry_url)) as registry,
        KafkaPositions(kafka, "brusnika", topic=f"{topic}.position") as positions,
        BrusnikaTwin(seed=7, limit=FRAMES, header_value="k") as twin,
    ):
        serde = Serde(registry)
        await serde.prepare([topic])
        async with RecordProducer(kafka, serde, "brusnika") as producer:
            feed = BrusnikaFeed(
                BrusnikaSettings(url=twin.url, header_value=SecretStr("k")),
                partial(producer.send_many, topic=topic),
                partial(keep, producer, kafka.partitions, topic),
                positions.load,
                positions.save,
            )
            task = asyncio.create_task(feed.run())
            async with asyncio.timeout(PATIENCE_S):
                while feed.stats.rows < len(good):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        rows = await read_all(kafka, topic, serde, len(good))
        assert await positions.load() == feed.stats.position
        letters = await read_letters(kafka, topic)
    assert len(letters) == feed.stats.kept == len(stream) - len(good)
    assert len(rows) == len(good)
    for key in {row[0] for row in good}:
        assert [row for row in rows if row[0] == key] == [row for row in good if row[0] == key]
