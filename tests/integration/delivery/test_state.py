"""What a delivery remembers, on a real Kafka: caught up with, rebuilt, and no stopped owner is waited for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from streams.delivery.state import DeliveryStates
from streams.kafka.topics import REMEMBERED, Topic, changelog_of, ensure_topics
from streams.kafka.transactions import ProducerRecord, TransactionalWriter
from tests.support.deliveries import Bench

pytestmark = pytest.mark.integration
PREFIX = b"ledger\0"


@pytest.fixture
async def changelog(bench: Bench) -> AsyncIterator[Any]:
    """Writes to partition 3, as its owner does; says where the changelog then stands."""
    topic = changelog_of(bench.group)
    await ensure_topics(bench.cluster.kafka, [Topic(topic, REMEMBERED)])
    writer = TransactionalWriter(bench.cluster.kafka, bench.group, 3)
    await writer.start()

    async def write(**values: bytes | None) -> int:
        entries = [ProducerRecord(PREFIX + key.encode(), value) for key, value in values.items()]
        offset = await writer.commit(topic, {topic: entries}, {TopicPartition(bench.topic, 3): 0})
        assert offset is not None
        return offset

    yield write
    await writer.stop()


def opened(bench: Bench) -> DeliveryStates:
    return DeliveryStates(bench.cluster.kafka, changelog_of(bench.group), bench.folder / "copy")


async def test_a_copy_reads_what_it_lacks_and_no_more(bench: Bench, changelog: Any) -> None:
    await changelog(a=b"1", b=b"1")
    states = opened(bench)
    state = (await states.open([0, 3]))[3]
    assert dict(state.scan(PREFIX)) == {PREFIX + b"a": b"1", PREFIX + b"b": b"1"}
    offset = await changelog(a=b"2", c=b"1")
    state.apply([ProducerRecord(PREFIX + b"a", b"2"), ProducerRecord(PREFIX + b"c", b"1")], offset)
    states.close()

    at = await changelog(b=None, d=b"1")
    again = opened(bench)
    state = (await again.open([3]))[3]
    assert dict(state.scan(PREFIX)) == {PREFIX + b"a": b"2", PREFIX + b"c": b"1", PREFIX + b"d": b"1"}
    assert state.offset == at - 1, "the marker behind it is never read"
    again.close()


async def test_a_copy_that_is_ahead_of_the_changelog_is_made_anew(bench: Bench, changelog: Any) -> None:
    await changelog(a=b"1")
    states = opened(bench)
    (await states.open([3]))[3].apply([ProducerRecord(PREFIX + b"x", b"1")], 1_000)
    states.close()
    state = (await states.open([3]))[3]
    assert dict(state.scan(PREFIX)) == {PREFIX + b"a": b"1"}
    states.close()


async def test_a_stopped_owner_that_holds_the_copy_stops_nobody(
    bench: Bench, changelog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tables.store.LOCK_WAIT_S", 0.3)
    await changelog(a=b"1")
    stopped, other = opened(bench), opened(bench)
    await stopped.open([3])
    state = (await other.open([3]))[3]
    assert dict(state.scan(PREFIX)) == {PREFIX + b"a": b"1"}
    other.close()
    stopped.close()
    state = (await other.open([3]))[3]
    assert state.get(PREFIX + b"a") == b"1"
    other.close()
