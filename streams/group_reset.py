"""Resets of our consumer groups by a person: to other offsets, or to the start with empty tables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, Self

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, GroupIdNotFound, for_code
from aiokafka.protocol.admin import DeleteGroupsRequest
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from schemas.errors import BrokenSetup
from streams.aggregate import Domain
from streams.delivery.offset_tracker import OffsetTracker
from streams.kafka.offsets import committed_offsets
from streams.kafka.settings import KafkaSettings
from streams.kafka.topics import ensure_topics, group_of
from streams.topology import topics_of

GONE_S: Final = 30.0
"""Seconds until a deleted topic is gone."""


class GroupBusy(BrokenSetup):
    """A group has members: their offsets must not be set while they work."""

    code = "group_busy"
    hint = (
        "Stop them (`kounter lag --json` lists the members); one that was killed counts for 10 s more. Then ask again."
    )


class Move(NamedTuple):
    """Change of the offset of one partition of a group."""

    partition: TopicPartition
    before: int | None
    """None: nothing was committed."""
    after: int


class Resetter:
    """Reads and sets offsets in Kafka; refuses while a group has members."""

    def __init__(self, kafka: KafkaSettings, sinks: Mapping[str, str]) -> None:
        """``sinks`` are the topics of the commands for outside systems, by sink."""
        self._kafka = kafka
        self._deliveries = {group_of(sink): topic for sink, topic in sinks.items()}

    async def __aenter__(self) -> Self:
        self._admin = AIOKafkaAdminClient(**self._kafka.client_options(), request_timeout_ms=15_000)
        await self._admin.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._admin.close()

    async def check_idle(self, *groups: str) -> None:
        """Raises GroupBusy."""
        for group in groups:
            try:
                responses = await self._admin.describe_consumer_groups([group])
            except GroupCoordinatorNotAvailableError:  # there never was a group
                continue
            for response in responses:
                for _error, _group, _state, _type, _protocol, members, *_ in response.groups:
                    if members:
                        hosts = ", ".join(sorted({f"{member[1]} on {member[2]}" for member in members}))
                        raise GroupBusy(f"group {group} has {len(members)} members: {hosts}")

    async def plan(self, group: str, topic: str, partition: int | None, to: int | str) -> list[Move]:
        """Returns the changes that setting the offsets of a topic would make; ``to`` is an offset, ``earliest`` or
        ``latest``. Raises BrokenSetup if there is no such topic, partition or offset.
        """
        known: list[int] = []
        if topic in await self._admin.list_topics():  # to describe one that is not there could make it
            (described,) = await self._admin.describe_topics([topic])
            known = sorted(one["partition"] for one in described["partitions"])
        if not known or (partition is not None and partition not in known):
            place = topic if partition is None else f"{topic} {partition}"
            raise BrokenSetup(f"there is no {place}", hint="`kounter topics` lists them.")
        tps = [TopicPartition(topic, p) for p in (known if partition is None else [partition])]
        async with self._consumer(group) as consumer:
            begins, ends = await consumer.beginning_offsets(tps), await consumer.end_offsets(tps)
        committed = await committed_offsets(self._admin, group)
        moves = []
        for tp in tps:
            after = begins[tp] if to == "earliest" else ends[tp] if to == "latest" else int(to)
            if not begins[tp] <= after <= ends[tp]:
                raise BrokenSetup(
                    f"{topic} {tp.partition} has offsets from {begins[tp]} to {ends[tp]}, {after} is none of them",
                    hint="Name one of them, or earliest or latest.",
                )
            before = committed.get(tp)
            moves.append(Move(tp, None if before is None or before.offset < 0 else before.offset, after))
        return moves

    async def move(self, group: str, moves: list[Move]) -> None:
        """Set the offsets. The counts of a delivery beside them stay. Raises GroupBusy."""
        await self.check_idle(group)
        committed = await committed_offsets(self._admin, group)
        await self._set(group, {move.partition: self._at(group, move, committed) for move in moves})

    async def _positions(self, group: str, topics: list[str]) -> dict[TopicPartition, OffsetAndMetadata]:
        """Returns the committed offsets of these topics."""
        found = await committed_offsets(self._admin, group) if topics else {}
        return {tp: at for tp, at in found.items() if tp.topic in topics and at.offset >= 0}

    async def _set(self, group: str, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        if offsets:
            async with self._consumer(group) as consumer:
                consumer.assign(list(offsets))
                await consumer.commit(offsets)

    async def rebuild(self, domain: Domain) -> None:
        """Have a domain folded again from the start. The offsets go first: workers that find states without offsets
        fold nothing, so a stop in between does no harm, and the next call goes on.

        Commands that were decided stay so, as their events stand on the topics: decided again, from states that are
        only coming to be, they would give other events, and a user or a deposit twice. So the group's offsets on
        their topics are kept, meanwhile as those of a group of its own.

        Raises GroupBusy while members run, KafkaError, and TimeoutError if the changelog is not gone in `GONE_S`.
        """
        await self.check_idle(domain.name, *self.deliveries_of(domain))
        kept = f"{domain.name}-rebuild"
        commands = [topic for topic, aggregate in domain.by_topic.items() if topic == aggregate.commands]
        decided = await self._positions(domain.name, commands) or await self._positions(kept, commands)
        await self._set(kept, decided)
        await self._forget(domain.name)
        if domain.changelog in await self._admin.list_topics():
            response = await self._admin.delete_topics([domain.changelog])
            for _topic, code, *_ in response.topic_error_codes:
                if code:
                    raise for_code(code)(f"topic {domain.changelog} can't be deleted")
        async with asyncio.timeout(GONE_S):
            while domain.changelog in await self._admin.list_topics():  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        await self._set(domain.name, decided)
        await self._forget(kept)
        await ensure_topics(self._kafka, topics_of([domain]))

    async def _forget(self, group: str) -> None:
        try:
            coordinator = await self._admin.find_coordinator(group)
        except GroupCoordinatorNotAvailableError:
            return
        response: Any = await self._admin._send_request(DeleteGroupsRequest([group]), coordinator)
        for _group, code in response.results:
            if code and for_code(code) is not GroupIdNotFound:
                raise GroupBusy(f"group {group} can't be deleted: {for_code(code).__name__}")

    @asynccontextmanager
    async def _consumer(self, group: str) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(**self._kafka.client_options(), group_id=group, enable_auto_commit=False)
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()

    def deliveries_of(self, domain: Domain) -> list[str]:
        """Returns the groups that execute the commands that a domain writes: they would execute all of them again."""
        return [group for group, topic in self._deliveries.items() if topic in domain.outboxes]

    def _at(self, group: str, move: Move, committed: Mapping[TopicPartition, OffsetAndMetadata]) -> OffsetAndMetadata:
        """Returns the offset to commit. Metadata of work done beyond the old offset is relative to it, and is dropped;
        counts stay.
        """
        before = committed.get(move.partition)
        if before is None or not before.metadata or group not in self._deliveries:
            return OffsetAndMetadata(move.after, "")
        kept: OffsetAndMetadata = OffsetTracker(
            move.after, tally=OffsetTracker.restore(before.offset, before.metadata).tally
        ).mark()
        return kept
