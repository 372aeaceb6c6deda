"""How far a consumer group is behind: in records and in seconds, and who has which partitions."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, NamedTuple, Self

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition

from schemas.kafka import KafkaSettings
from streams.domain import Domain

PEEK_MS = 500


class TopicLag(NamedTuple):
    """Of one topic and group."""

    topic: str
    committed: int
    """Sum of the committed offsets."""
    records: int
    """Offsets from there to the end; commit markers among them count until they are skipped."""
    seconds: float
    """Age of the oldest record that waits; 0.0 if none does."""


class GroupState(NamedTuple):
    """Of one consumer group."""

    group: str
    state: str
    """Kafka's word: Stable, Empty, PreparingRebalance, …"""
    members: int
    topics: list[TopicLag]

    @property
    def records(self) -> int:
        return sum(topic.records for topic in self.topics)

    @property
    def seconds(self) -> float:
        return max((topic.seconds for topic in self.topics), default=0.0)


class LagMeter:
    """Asks Kafka; no worker is needed to answer."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka

    async def __aenter__(self) -> Self:
        self._admin = AIOKafkaAdminClient(**self._kafka.client_options())
        await self._admin.start()
        self._consumer = AIOKafkaConsumer(
            **self._kafka.client_options(),
            isolation_level="read_committed",
            enable_auto_commit=False,
            fetch_max_wait_ms=50,
        )
        await self._consumer.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._consumer.stop()
        await self._admin.close()

    async def of_domain(self, domain: Domain) -> GroupState:
        """Of a domain's workers."""
        return await self.of_group(domain.name, domain.sources)

    async def of_group(self, group: str, topics: Iterable[str]) -> GroupState:
        """Of any group that reads ``topics``."""
        tps = [TopicPartition(topic, p) for topic in topics for p in range(self._kafka.partitions)]
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(tps)
        starts: dict[TopicPartition, int] = await self._consumer.beginning_offsets(tps)
        committed = await self._admin.list_consumer_group_offsets(group)
        at = {tp: committed[tp].offset if tp in committed else starts[tp] for tp in tps}
        behind = [tp for tp in tps if ends[tp] > at[tp]]
        ages = await self._ages({tp: at[tp] for tp in behind}) if behind else {}
        state, members = await self._describe(group)
        lags = []
        for topic in dict.fromkeys(tp.topic for tp in tps):
            own = [tp for tp in tps if tp.topic == topic]
            records = sum(max(0, ends[tp] - at[tp]) for tp in own)
            seconds = max((ages.get(tp, 0.0) for tp in own), default=0.0)
            lags.append(TopicLag(topic, sum(at[tp] for tp in own), records, round(seconds, 1)))
        return GroupState(group, state, members, lags)

    async def _ages(self, positions: dict[TopicPartition, int]) -> dict[TopicPartition, float]:
        """Seconds since the first waiting record of each partition; none where only markers are left."""
        self._consumer.assign(list(positions))
        for tp, offset in positions.items():
            self._consumer.seek(tp, offset)
        now, ages = time.time(), {}
        polled = await self._consumer.getmany(timeout_ms=PEEK_MS)
        for tp, records in polled.items():
            ages[tp] = max(0.0, now - records[0].timestamp / 1000)
        return ages

    async def _describe(self, group: str) -> tuple[str, int]:
        for response in await self._admin.describe_consumer_groups([group]):
            for entry in response.groups:
                found: Any = entry
                return str(found[2]), len(found[5])
        return "Unknown", 0
