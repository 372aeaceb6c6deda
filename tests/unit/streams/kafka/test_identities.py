"""Several processes that decide in the same moment whose a system is."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError, ProducerFenced, UnknownError

from streams.kafka import identities
from streams.kafka.identities import Identity
from streams.kafka.settings import KafkaSettings

OURS: Identity = {"name": "ours"}


class Topic:
    """The topic, and what each try to commit raises."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.commits = [*errors], 0
        self.found: Identity | None = None

    async def read(self, *_: Any) -> Identity | None:
        return self.found

    def writer(self, *_: Any) -> Topic:
        return self

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def commit(self, topic: str, writes: Any, offsets: Any) -> None:
        self.commits += 1
        if self.errors:
            raise self.errors.pop(0)
        self.found = orjson.loads(writes[topic][0].value)


async def settled(monkeypatch: pytest.MonkeyPatch, topic: Topic) -> None:
    monkeypatch.setattr(identities, "PAUSE_S", 0.0)
    monkeypatch.setattr(identities, "read", topic.read)
    monkeypatch.setattr(identities, "TransactionalWriter", topic.writer)
    await identities.settle(KafkaSettings(), "test", lambda known: known or OURS)


def unknown() -> KafkaError:
    """As aiokafka raises what its sender did not expect."""
    error = KafkaError("Unexpected error during batch delivery")
    error.__cause__ = UnknownError()
    return error


@pytest.mark.parametrize("error", [ProducerFenced(), UnknownError(), unknown()])
async def test_one_that_another_has_fenced_decides_again(monkeypatch: pytest.MonkeyPatch, error: KafkaError) -> None:
    """Kafka 4.3 answers a commit with an unknown error while another process begins: workers ended at their start."""
    await settled(monkeypatch, topic := Topic(error, error))
    assert topic.found == OURS
    assert topic.commits == 3


async def test_it_ends_after_so_many_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KafkaError, match="batch delivery"):
        await settled(monkeypatch, Topic(*(unknown() for _ in range(identities.TRIES))))


async def test_a_kafka_that_is_away_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = Topic(KafkaConnectionError())
    with pytest.raises(KafkaConnectionError):
        await settled(monkeypatch, topic)
    assert topic.commits == 1
