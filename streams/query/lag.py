"""Lag of a consumer group, in records and in seconds, and the owners of its partitions."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, NamedTuple, Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.structs import TopicPartition

from streams.aggregate import Domain
from streams.delivery.offset_tracker import TALLY, OffsetTracker, Tally
from streams.delivery.parking import DIGITS
from streams.delivery.parking import PREFIX as PARKED
from streams.kafka.batches.headers import UnreadableBatch
from streams.kafka.batches.unpacking import look, passed, stand, unreadable
from streams.kafka.consumer import committed_consumer, stop
from streams.kafka.offsets import committed_offsets
from streams.kafka.reader import TopicReader
from streams.kafka.settings import KafkaSettings
from streams.kafka.topics import changelog_of

PEEK_S: Final = 3.0
POLL_MS: Final = 200


class TopicLag(NamedTuple):
    """Lag of one group on one topic."""

    topic: str
    committed: int
    """Sum of the committed offsets."""
    records: int
    """Records that wait, as offsets count them: the markers of transactions among them count too, but a partition where
    nothing but markers is left has 0."""
    seconds: float
    """Age of the oldest record that waits; 0.0 if none does."""
    assigned: int
    """Partitions that a member has."""
    partitions: int
    deleted: int = 0
    """Records that were deleted behind the group's position, as offsets count them: it will never read them."""


class Member(NamedTuple):
    """A process of a group."""

    client: str
    host: str
    partitions: tuple[str, ...]
    """``estate.lead:3``"""


class GroupState(NamedTuple):
    """State of one consumer group."""

    group: str
    state: str
    """State as Kafka names it: Stable, Empty, PreparingRebalance, …"""
    members: tuple[Member, ...]
    topics: tuple[TopicLag, ...]
    unreadable: tuple[UnreadableBatch, ...] = ()
    """Batches that can't be unpacked, at which the group stands."""

    @property
    def assigned(self) -> bool:
        """Every partition has a member."""
        return bool(self.topics) and all(topic.assigned == topic.partitions for topic in self.topics)

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
        self._consumer = committed_consumer(self._kafka)
        stand(self._consumer, quietly=True)
        try:
            await self._admin.start()
            await self._consumer.start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await stop(self._consumer)
        await self._admin.close()

    async def of_domain(self, domain: Domain) -> GroupState:
        """Returns the state of the group of a domain's workers."""
        return await self.of_group(domain.name, domain.sources)

    async def of_group(self, group: str, topics: Iterable[str]) -> GroupState:
        """Returns the state of any group that reads ``topics``; topics that do not exist yet are left out."""
        there = await self._consumer.topics()
        named = [topic for topic in topics if topic in there]
        described = await self._admin.describe_topics(named) if named else []
        counts = {topic["topic"]: len(topic["partitions"]) for topic in described}  # Nest's may be another's own
        tps = [TopicPartition(topic, p) for topic in named for p in range(counts[topic])]
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(tps)
        starts: dict[TopicPartition, int] = await self._consumer.beginning_offsets(tps)
        committed = await committed_offsets(self._admin, group)
        at = {tp: max(committed[tp].offset, starts[tp]) if tp in committed else starts[tp] for tp in tps}
        waits, unreadable = await self._waiting({tp: (at[tp], ends[tp]) for tp in tps if ends[tp] > at[tp]})
        state, members = await self._describe(group)
        owned = {name for member in members for name in member.partitions}
        lags = []
        for topic in dict.fromkeys(tp.topic for tp in tps):
            own = [tp for tp in tps if tp.topic == topic]
            records = sum(ends[tp] - at[tp] for tp in own if tp in waits)
            seconds = max((waits[tp] for tp in own if tp in waits), default=0.0)
            assigned = sum(_name(tp) in owned for tp in own)
            deleted = sum(max(0, starts[tp] - committed[tp].offset) for tp in own if tp in committed)
            lag = TopicLag(topic, sum(at[tp] for tp in own), records, round(seconds, 1), assigned, len(own), deleted)
            lags.append(lag)
        return GroupState(group, state, members, tuple(lags), tuple(unreadable))

    async def progress(self, group: str, topic: str) -> list[OffsetTracker]:
        """Returns progress for each partition of a topic that a delivery has committed or remembers. An offset that a
        person has set has no counts beside it: the counts are then those that the delivery remembers.
        """
        committed = await committed_offsets(self._admin, group)
        found = {
            tp.partition: OffsetTracker.restore(at.offset, at.metadata)
            for tp, at in committed.items()
            if tp.topic == topic
        }
        none = Tally()
        bare = [p for p in range(self._kafka.partitions) if p not in found or found[p].tally == none]
        for partition, tally in (await self._remembered(changelog_of(group), bare)).items():
            found.setdefault(partition, OffsetTracker(0)).tally = tally
        return list(found.values())

    async def _remembered(self, changelog: str, partitions: list[int]) -> dict[int, Tally]:
        """Returns the counts of a delivery's changelog. Parked commands are counted: they may predate the counts."""
        latest: dict[tuple[int, bytes], tuple[int, bytes | None]] = {}
        if partitions and changelog in await self._consumer.topics():
            async with TopicReader(self._kafka) as reader:
                async for record in reader.read(changelog, partitions=partitions):
                    place = record.partition, record.key
                    if record.key.startswith((TALLY, PARKED)) and record.offset > latest.get(place, (-1,))[0]:
                        latest[place] = record.offset, record.value
        found = {p: Tally.load(value) for (p, key), (_, value) in latest.items() if key == TALLY}
        parked = [(p, key) for (p, key), (_, value) in latest.items() if value is not None and key != TALLY]
        for partition in {*found, *(p for p, _ in parked)}:
            keys = [key[: -DIGITS - 1] for p, key in parked if p == partition]
            counts = found.get(partition, Tally())
            found[partition] = replace(counts, parked=len(keys), parked_keys=len(set(keys)))
        return found

    async def _waiting(
        self, spans: dict[TopicPartition, tuple[int, int]]
    ) -> tuple[dict[TopicPartition, float], list[UnreadableBatch]]:
        """Returns the age in seconds of the first record of each span, and the batches that can't be unpacked at which
        spans begin. Partitions whose span holds only markers are left out.

        A partition that did not answer in time has an unknown age, given as 0 seconds.
        """
        ages: dict[TopicPartition, float] = {}
        standing: dict[TopicPartition, UnreadableBatch] = {}
        self._consumer.assign(list(spans))
        for tp, (start, _) in spans.items():
            self._consumer.seek(tp, start)
        unknown = set(spans)
        until = time.monotonic() + PEEK_S
        while unknown and time.monotonic() < until:
            for tp, records in (await self._consumer.getmany(*unknown, timeout_ms=POLL_MS, max_records=500)).items():
                unknown.discard(tp)
                if records[0].offset < spans[tp][1]:
                    ages[tp] = max(0.0, time.time() - records[0].timestamp / 1000)
            standing = {TopicPartition(*batch.id[:2]): batch for batch in unreadable(self._consumer)}
            unknown -= standing.keys()
            unknown -= {tp for tp in unknown if await self._consumer.position(tp) >= spans[tp][1]}
        if standing:
            await look()
        standing = {tp: batch for tp, batch in standing.items() if batch.id not in passed}
        ages |= {tp: max(0.0, time.time() - batch.timestamp / 1000) for tp, batch in standing.items() if tp not in ages}
        return ages | dict.fromkeys(unknown, 0.0), list(standing.values())

    async def _describe(self, group: str) -> tuple[str, tuple[Member, ...]]:
        for response in await self._admin.describe_consumer_groups([group]):
            for _error, _group, state, _type, _protocol, members, *_ in response.groups:
                return str(state), tuple(_member(*member[1:]) for member in members)
        return "Unknown", ()


def _member(client: str, host: str, _metadata: bytes, assignment: bytes, *_: Any) -> Member:
    if not assignment:  # it has just joined
        return Member(client, host, ())
    tps = ConsumerProtocolMemberAssignment.decode(assignment).partitions()
    return Member(client, host, tuple(_name(tp) for tp in sorted(tps)))


def _name(tp: TopicPartition) -> str:
    return f"{tp.topic}:{tp.partition}"
