"""The real registry and Kafka: schemas registered and refused, records produced and read back."""

from __future__ import annotations

import copy
import secrets
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from schemas.cloudevents import read_headers
from schemas.codec.avro import avro_schema
from schemas.codec.compat import incompatibilities
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.codec.settings import RegistrySettings
from schemas.errors import BrokenSetup, IncompatibleSchema, InvalidInput, RegistryUnavailable, UndecodableRecord
from schemas.estate import Lead, Project
from schemas.record import also_on, contract
from streams.kafka.partitioner import partition_of
from streams.kafka.producer import RecordProducer
from streams.kafka.settings import KafkaSettings

pytestmark = pytest.mark.integration
OURS = avro_schema(contract(Lead))


@pytest.fixture
async def registry(stack: Any) -> AsyncIterator[SchemaRegistry]:
    async with SchemaRegistry(RegistrySettings(url=stack.registry_url)) as client:
        yield client


@pytest.fixture
def subject() -> str:
    return f"test.{secrets.token_hex(4)}-kounter.estate.Lead"


def with_field(**entry: Any) -> dict[str, Any]:
    schema = copy.deepcopy(OURS)
    schema["fields"].append(entry)
    return schema


async def test_a_schema_is_registered_once_and_found_by_its_id(registry: SchemaRegistry, subject: str) -> None:
    await registry.set_compatibility(subject)
    assert await registry.lookup(subject, OURS) is None
    assert await registry.versions(subject) == {}
    assert await registry.compatible(subject, OURS) == []
    id = await registry.register(subject, OURS)
    assert await registry.register(subject, OURS) == id
    assert await registry.lookup(subject, OURS) == id
    assert await registry.schema(id) == OURS
    assert await registry.versions(subject) == {1: OURS}


async def test_what_may_not_follow_is_refused_as_our_own_check_says(registry: SchemaRegistry, subject: str) -> None:
    await registry.set_compatibility(subject)
    await registry.register(subject, OURS)
    good = with_field(name="note", type=["null", "string"], default=None)
    bad = with_field(name="note", type="string")
    assert await registry.compatible(subject, good) == incompatibilities(good, OURS) == []
    assert await registry.compatible(subject, bad)
    assert incompatibilities(bad, OURS)
    with pytest.raises(IncompatibleSchema):
        await registry.register(subject, bad)
    await registry.register(subject, good)
    assert list(await registry.versions(subject)) == [1, 2]


async def test_an_id_that_does_not_exist(registry: SchemaRegistry) -> None:
    with pytest.raises(UndecodableRecord) as caught:
        await registry.schema(2_000_000_000)
    assert caught.value.reason == "unknown_schema_id"


async def test_a_registry_that_is_not_there() -> None:
    async with SchemaRegistry(RegistrySettings(url="http://127.0.0.1:9/apis")) as nowhere:
        with pytest.raises(RegistryUnavailable):
            await nowhere.schema(1)


@pytest.fixture
async def topic(stack: Any) -> str:
    name = f"test.{secrets.token_hex(4)}"
    also_on(Lead, name)
    also_on(Project, name)
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, KafkaSettings().partitions, 1)])
    finally:
        await admin.close()
    return name


async def read(stack: Any, topic: str, count: int) -> list[Any]:
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, p) for p in range(KafkaSettings().partitions)])
        return [await anext(consumer) for _ in range(count)]
    finally:
        await consumer.stop()


async def test_a_record_goes_to_kafka_and_comes_back(stack: Any, registry: SchemaRegistry, topic: str) -> None:
    serde, reader = Serde(registry), Serde(registry)
    ids = await serde.prepare([topic])
    assert set(ids) == {f"{topic}-kounter.estate.Lead", f"{topic}-kounter.estate.Project"}
    rows = [Lead("лид-1", 5, fee=Decimal("10.50"), state="ACTIVE", unset=("project_ext_id",)), Lead("лид-1", 6)]  # type: ignore[arg-type]
    kafka = KafkaSettings(bootstrap_servers=stack.bootstrap_servers)
    async with RecordProducer(kafka, serde, "test") as producer:
        sent = [await producer.send(row, topic=topic, time_micros=1_500_000, id=f"i-{row.update_id}") for row in rows]
        await producer.tombstone(topic, "лид-1")
        with pytest.raises(InvalidInput, match="at most 1000000 bytes"):
            await producer.send(Project("p", location="x" * 1_000_000), topic=topic)
        large = await producer.send(Project("лид-1", location="x" * 990_000), topic=topic)
        with pytest.raises(InvalidInput, match="ext_id: expected a key"):
            await producer.send(Lead(""), topic=topic)
        with pytest.raises(BrokenSetup, match="not prepared"):
            await producer.send(Lead("l"))
    records = await read(stack, topic, 4)
    home = partition_of("лид-1".encode(), kafka.partitions)
    assert {r.partition for r in records} == {home} == {s.partition for s in [*sent, large]}
    assert [await reader.decode(topic, r.value) for r in records[:2]] == rows
    assert records[2].value is None
    meta = [
        read_headers(r.headers, timestamp_ms=r.timestamp, topic=topic, partition=r.partition, offset=r.offset)
        for r in records
    ]
    assert [m[:5] for m in meta[:2]] == [(f"i-{n}", "test", "kounter.estate.Lead", 1_500_000, "лид-1") for n in (5, 6)]
    assert meta[2].id == f"{topic}-{home}-2"


async def test_our_partitioner_is_the_clients_default(stack: Any, topic: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=stack.bootstrap_servers)
    await producer.start()
    try:
        for key in (b"a", "лид".encode(), b"x" * 255, b"7"):
            sent = await producer.send_and_wait(topic, b"", key)
            assert sent.partition == partition_of(key, KafkaSettings().partitions)
    finally:
        await producer.stop()
