"""What another Kafka's folder, registry or portal meets at a real cluster."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from kounter import adopt
from kounter.process.identity import check_kafka, note, of_folder
from kounter.settings import Settings
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.codec.settings import RegistrySettings
from schemas.errors import BrokenSetup, UndecodableRecord
from schemas.estate import Lead
from streams.delivery import ledger
from streams.domains.estate import ESTATE
from streams.kafka import identities, registry_identity
from streams.kafka.settings import KafkaSettings
from streams.kafka.topics import COMPACTED, Topic, changelog_of, ensure_topics
from streams.kafka.transactions import ProducerRecord, TransactionalWriter
from tests.support.cluster import Cluster

pytestmark = pytest.mark.integration


@pytest.fixture
async def kafka(stack: Any) -> KafkaSettings:
    kafka = KafkaSettings(bootstrap_servers=stack.bootstrap_servers)
    await ensure_topics(kafka, [Topic(identities.TOPIC, COMPACTED)])
    return kafka


async def test_of_two_that_decide_at_once_the_later_sees_the_earlier(kafka: KafkaSettings) -> None:
    seen: list[Any] = []

    def first(name: str) -> Any:
        def decide(known: Any) -> Any:
            if known is not None:
                seen.append(known)
                return known
            return {"name": name}

        return decide

    await asyncio.gather(*(identities.settle(kafka, "test-race", first(name)) for name in "abc"))
    known = await identities.read(kafka, "test-race")
    assert known is not None
    assert seen == [known, known], "one was first"
    await identities.settle(kafka, "test-race", lambda _: None)
    assert await identities.read(kafka, "test-race") is None


async def test_another_kafkas_folder_is_refused_until_it_is_adopted(kafka: KafkaSettings, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, kafka=kafka)
    note(tmp_path, "another")
    with pytest.raises(BrokenSetup, match="belongs to the cluster another"):
        await check_kafka(settings)
    (tmp_path / "workers" / "0").mkdir(parents=True)
    (tmp_path / "kafka").mkdir()
    move = await adopt.to_kafka(settings)
    assert move is not None
    assert "workers" in move.forgets
    await move.carry_out()
    await check_kafka(settings)
    assert of_folder(tmp_path) != "another"
    assert (tmp_path / "kafka").exists()
    assert not (tmp_path / "workers").exists()
    assert await adopt.to_kafka(settings) is None


class Emptied(SchemaRegistry):
    """Another registry, which knows none of our ids."""

    async def schema(self, id: int) -> Any:
        raise UndecodableRecord("unknown_schema_id", "none")

    schema_now = schema


@pytest.mark.parametrize("noted", [True, False])
async def test_a_registry_that_does_not_know_history_is_refused(stack: Any, kafka: KafkaSettings, noted: bool) -> None:
    """Also where topics are of a time when nothing was noted."""
    async with Cluster(stack, ESTATE) as cluster:
        names = ["estate.lead"]
        url = RegistrySettings(url=stack.registry_url)
        async with SchemaRegistry(url) as registry, Emptied(url) as other:
            before = await identities.read(kafka, registry_identity.SYSTEM)
            try:
                await identities.settle(kafka, registry_identity.SYSTEM, lambda _: None)
                if noted:
                    await registry_identity.prepare(kafka, Serde(registry), names, names)
                await cluster.producer.send(Lead("whose-1"))
                await registry_identity.check(kafka, registry, names)
                with pytest.raises(BrokenSetup, match="not the one that our topics were written with"):
                    await registry_identity.check(kafka, other, names)
            finally:
                await identities.settle(kafka, registry_identity.SYSTEM, lambda _: before)


async def test_what_was_made_in_the_old_portal_is_forgotten(kafka: KafkaSettings) -> None:
    group = f"delivery-{uuid.uuid4().hex}"
    assert await adopt.in_ledger(kafka, group) == []
    changelog = changelog_of(group)
    await ensure_topics(kafka, [Topic(changelog, COMPACTED)])
    writer = TransactionalWriter(kafka, group, 2)
    await writer.start()
    entries = [ProducerRecord(ledger.PREFIX + b"estate.lead:l-1", b"[]"), ProducerRecord(b"parked\0x", b"kept")]
    await writer.commit(changelog, {changelog: entries}, {TopicPartition(changelog, 2): 0})
    await writer.stop()
    made = await adopt.in_ledger(kafka, group)
    assert [(record.partition, record.key) for record in made] == [(2, ledger.PREFIX + b"estate.lead:l-1")]
    await adopt._forget(kafka, made)
    assert await adopt.in_ledger(kafka, group) == []
