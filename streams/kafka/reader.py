"""Reading topics from one point to another, outside of any consumer group."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, Self

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import ConsumerRecord, TopicPartition
from loguru import logger

from schemas.errors import BrokenSetup, InvalidInput, KounterError
from schemas.fields import to_micros
from schemas.record import partition_key
from streams.kafka.partitioner import partition_of
from streams.kafka.settings import KafkaSettings

POLL_MS: Final = 300
SILENCE_S: Final = 30.0
"""A broker that answers nothing for so long is given up; committed records never take that long to come."""
LAST: Final = 20
"""Offsets: of a transaction the marker is one, too."""
UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
SPAN: Final = re.compile(r"-([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd])")
OFFSET: Final = re.compile(r"offset:([0-9]{1,18})")
IN_QUERY: Final = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+ \d\d:?\d\d")
AHEAD: Final = timedelta(minutes=1)
"""By how much the clock of who asks may be ahead of ours."""
MEND: Final = "Mend the option."
SKEW_MS: Final = 3_600_000
"""By how much the clocks of producers may differ: a partition is not in the order of its records' times, and the
markers of transactions have a time too. Records this far beyond the end are still looked at."""


class KafkaSilent(KounterError):
    """Kafka was there and stopped answering in the middle of reading."""

    code = "kafka_silent"
    hint = "Check that the brokers run (`kounter status`), then ask again."


class Point(NamedTuple):
    """A place in a topic: a time or an offset."""

    micros: int | None = None
    offset: int | None = None


def parse_point(text: str, now: datetime) -> Point:
    """``2026-11-01T00:00:00Z``, ``-1h`` (s, m, h, d before ``now``) or ``offset:123``. Raises InvalidInput."""
    try:
        if offset := OFFSET.fullmatch(text):
            return Point(offset=int(offset[1]))
        if span := SPAN.fullmatch(text):
            return Point(micros=to_micros(now - timedelta(**{UNITS[span[2]]: float(span[1])})))
        moment = datetime.fromisoformat(text)
        return Point(micros=to_micros(moment if moment.tzinfo else moment.replace(tzinfo=UTC)))
    except (ValueError, OverflowError):
        expected = "a time (2026-11-01T00:00:00Z), a span back (-1h) or offset:123"
        raise InvalidInput("a point in a topic", expected, text, hint=MEND) from None


def parse_moment(name: str, text: str, now: datetime) -> int:
    """A time that has been, or a span back, in microseconds. Raises InvalidInput that names the parameter."""
    expected = "a time (2026-11-01T00:00:00Z, UTC unless it has a zone) or a span back (-1h)"
    if IN_QUERY.fullmatch(text):
        text = "+".join(text.rsplit(" ", 1))  # of an address, where a plus stands for a space
    try:
        micros = parse_point(text, now).micros
    except InvalidInput:
        micros = None
    if micros is None:
        raise InvalidInput(name, expected, text, hint=MEND)
    if micros > to_micros(now + AHEAD):
        raise InvalidInput(name, f"a time that has been; it is {now:%Y-%m-%dT%H:%M:%SZ}", text, hint=MEND)
    return micros


class TopicReader:
    """Committed records only; ends where the topic ended when reading began. One reading at a time, others wait."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._one = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._consumer = AIOKafkaConsumer(
            **self._kafka.client_options(),
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            fetch_max_wait_ms=50,
        )
        try:
            await self._consumer.start()
        except BaseException:
            await self._consumer.stop()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await asyncio.sleep(0)  # a consumer whose tasks have not begun yet raises CancelledError when it is stopped
        await self._consumer.stop()

    def partition(self, topic: str, key: str) -> int:
        """Where records of ``key`` are."""
        return partition_of(partition_key(topic, key.encode()), self._kafka.partitions)

    async def partitions(self, topic: str) -> list[int]:
        """Of a topic that may be another's, and have another number of them than ours."""
        admin = AIOKafkaAdminClient(**self._kafka.client_options())
        try:
            await admin.start()
            (described,) = await admin.describe_topics([topic])
        finally:
            await admin.close()
        return sorted(partition["partition"] for partition in described["partitions"])

    async def has(self, topic: str) -> bool:
        """Whether there is such a topic."""
        return topic in await self._consumer.topics()

    async def of_key(self, topic: str, key: str) -> list[ConsumerRecord]:
        """All records of one key."""
        raw = key.encode()
        return [
            record async for record in self.read(topic, partitions=[self.partition(topic, key)]) if record.key == raw
        ]

    async def read(
        self,
        topic: str,
        *,
        start: Point | None = None,
        end: Point | None = None,
        partitions: list[int] | None = None,
        on_size: Callable[[int], None] | None = None,
    ) -> AsyncIterator[ConsumerRecord]:
        """Records from ``start`` until ``end`` (not included), those of a poll in the order of their time.

        ``on_size`` is told how many offsets lie between, for a progress bar. Raises BrokenSetup if there is no such
        topic, KafkaSilent if the brokers go away meanwhile.
        """
        async with self._one:
            if topic not in await self._consumer.topics():
                raise BrokenSetup(f"there is no topic {topic}", hint="Workers make it, and `kounter topics create`.")
            chosen = range(self._kafka.partitions) if partitions is None else partitions
            tps = [TopicPartition(topic, p) for p in chosen]
            self._consumer.assign(tps)
            first, last = await self._offsets(tps, start, False), await self._offsets(tps, end, True)
            earliest, latest = _millis(start, -math.inf), _millis(end, math.inf)
            if on_size:
                on_size(sum(max(0, last[tp] - first[tp]) for tp in tps))
            for tp in tps:
                self._consumer.seek(tp, first[tp])
            self._tell_of_deleted(first, await self._consumer.beginning_offsets(tps), start)
            async for polled in self._polls(last):
                for record in sorted(polled, key=lambda r: (r.timestamp, r.partition, r.offset)):
                    if earliest <= record.timestamp < latest:
                        yield record

    async def last(self, names: Iterable[str], count: int = LAST) -> AsyncIterator[ConsumerRecord]:
        """The last records of each partition of these topics, ``count`` offsets back."""
        async with self._one:
            there = sorted(set(names) & await self._consumer.topics())
            tps = [TopicPartition(name, p) for name in there for p in range(self._kafka.partitions)]
            self._consumer.assign(tps)
            starts, ends = await self._offsets(tps, None, False), await self._offsets(tps, None, True)
            for tp in tps:
                self._consumer.seek(tp, max(starts[tp], ends[tp] - count))
            async for polled in self._polls(ends):
                for record in polled:
                    yield record

    def _tell_of_deleted(
        self, first: dict[TopicPartition, int], begins: dict[TopicPartition, int], start: Point | None
    ) -> None:
        """Where a topic is asked for more than it still has."""
        asked = 0 if start is None else start.offset
        for tp, begin in begins.items():
            if 0 < begin == first[tp] and (asked is None or asked < begin):
                logger.warning("{} {}: its history begins at {}, what stood before was deleted", *tp, begin)

    async def _polls(self, last: dict[TopicPartition, int]) -> AsyncIterator[list[ConsumerRecord]]:
        """Until every position is at its ``last``: offsets are no measure, commit markers have some too."""
        before, moved = -1, time.monotonic()
        while True:
            at = {tp: await self._consumer.position(tp) for tp in last}
            if all(at[tp] >= last[tp] for tp in last):
                return
            if sum(at.values()) != before:
                before, moved = sum(at.values()), time.monotonic()
            elif time.monotonic() - moved > SILENCE_S:
                raise KafkaSilent(f"no answer from Kafka for {SILENCE_S:.0f} s")
            # Else a busy topic is read on past its end.
            self._consumer.pause(*(tp for tp in last if at[tp] >= last[tp]))
            batches = await self._consumer.getmany(timeout_ms=POLL_MS)
            yield [record for tp, records in batches.items() for record in records if record.offset < last[tp]]

    async def _offsets(self, tps: list[TopicPartition], point: Point | None, is_end: bool) -> dict[TopicPartition, int]:
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(tps)
        starts: dict[TopicPartition, int] = await self._consumer.beginning_offsets(tps)
        if point is None:
            return ends if is_end else starts
        if point.offset is not None:
            return {tp: min(max(point.offset, starts[tp]), ends[tp]) for tp in tps}
        millis = max(0, int(_millis(point, 0))) + (SKEW_MS if is_end else 0)
        found: dict[TopicPartition, Any] = await self._consumer.offsets_for_times(dict.fromkeys(tps, millis))
        return {tp: ends[tp] if found.get(tp) is None else found[tp].offset for tp in tps}


def _millis(point: Point | None, otherwise: float) -> float:
    """A point in Kafka's time; ``otherwise`` if it is none."""
    return otherwise if point is None or point.micros is None else -(-point.micros // 1000)
