"""Which partitions of a topic are read: those that it has, not as many as are set."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord, TopicPartition

from streams.kafka import reader
from streams.kafka.reader import TopicReader
from streams.kafka.settings import KafkaSettings

COUNTS = {"backend.events": 1, "estate.lead": 8, "posts": 9}


class Consumer:
    """Topics of one record a partition; a partition that they lack never gets an answer."""

    def __init__(self) -> None:
        self.at: dict[TopicPartition, int] = defaultdict(int)

    async def start(self) -> None:
        pass

    stop = start

    async def topics(self) -> set[str]:
        return {*COUNTS}

    def assign(self, tps: list[TopicPartition]) -> None:
        assert all(tp.partition < COUNTS[tp.topic] for tp in tps), "such a request ends with its timeout"

    async def beginning_offsets(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(tps, 0)

    async def end_offsets(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(tps, 1)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.at[tp] = offset

    async def position(self, tp: TopicPartition) -> int:
        return self.at[tp]

    async def getmany(self, *tps: TopicPartition, timeout_ms: int) -> Any:
        self.at.update(dict.fromkeys(tps, 1))
        return {tp: [ConsumerRecord(*tp, 0, 0, 0, None, b"", None, 0, 0, ())] for tp in tps}


class Admin:
    def __init__(self, **_: Any) -> None: ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def describe_topics(self, names: list[str]) -> Any:
        return [
            {"topic": name, "error_code": 0, "partitions": [{"partition": p, "leader": 1} for p in range(COUNTS[name])]}
            for name in names
        ]


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> TopicReader:
    monkeypatch.setattr(reader, "committed_consumer", lambda _: Consumer())
    monkeypatch.setattr(reader, "AIOKafkaAdminClient", Admin)
    return TopicReader(KafkaSettings(bootstrap_servers="127.0.0.1:1"))


async def test_the_last_records_of_topics_with_other_partition_counts(topics: TopicReader) -> None:
    """A delivery on a Kafka without a noted schema asked for eight partitions of the log, and never started."""
    async with topics:
        places = [(record.topic, record.partition) async for record in topics.last([*COUNTS, "none"])]
    assert sorted(places) == sorted((name, p) for name, count in COUNTS.items() for p in range(count))


async def test_a_topic_is_read_whole(topics: TopicReader) -> None:
    async with topics:
        for name, count in COUNTS.items():
            assert [record.partition async for record in topics.read(name)] == [*range(count)]
