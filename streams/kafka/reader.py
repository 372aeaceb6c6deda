"""Reading topics from one point to another, outside of any consumer group."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import ConsumerRecord, TopicPartition
from loguru import logger

from schemas.errors import BrokenSetup, InvalidInput
from schemas.fields import to_micros
from schemas.record import partition_key
from streams.kafka.consumer import committed_consumer, read_to_end, stop
from streams.kafka.partitioner import partition_of
from streams.kafka.settings import KafkaSettings
from streams.kafka.topics import partitions_of

LAST: Final = 20
"""Offsets, markers of transactions included."""
UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
SPAN: Final = re.compile(r"-([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd])")
OFFSET: Final = re.compile(r"offset:([0-9]{1,18})")
IN_QUERY: Final = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+ \d\d:?\d\d")
AHEAD: Final = timedelta(minutes=1)
"""Longest time by which the caller's clock may be ahead."""
MEND: Final = "Fix the option."
SKEW_MS: Final = 3_600_000
"""Milliseconds by which the clocks of producers may differ: a partition is not in the order of its records' times, and
markers of transactions have a time too. Records this far beyond the end are still read.
"""


class Point(NamedTuple):
    """A place in a topic: a time or an offset."""

    micros: int | None = None
    offset: int | None = None


def parse_point(text: str, now: datetime) -> Point:
    """Returns the point that a text names: ``2026-11-01T00:00:00Z``, ``-1h`` (s, m, h, d before ``now``) or
    ``offset:123``. Raises InvalidInput.
    """
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
    """Returns a past time, which a text gives as such or as a span back, in microseconds since the epoch.

    Raises InvalidInput that names the parameter ``name``.
    """
    expected = "a time (2026-11-01T00:00:00Z, UTC unless it has a zone) or a span back (-1h)"
    if IN_QUERY.fullmatch(text):
        text = "+".join(text.rsplit(" ", 1))  # from a URL, where a plus stands for a space
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
    """Reads committed records, up to the end of a topic at the time when reading begins; one reading at a time."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._one = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._consumer = committed_consumer(self._kafka)
        try:
            await self._consumer.start()
        except BaseException:
            await stop(self._consumer)
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await stop(self._consumer)

    def partition(self, topic: str, key: str) -> int:
        """Returns the partition of the records of ``key``."""
        return partition_of(partition_key(topic, key.encode()), self._kafka.partitions)

    async def _places(self, names: Collection[str]) -> list[TopicPartition]:
        """Returns all partitions of topics. Not all have `KafkaSettings.partitions`: the log of the main backend has
        one, and a topic of another program any number. A request for a partition that does not exist is repeated until
        its timeout.
        """
        admin = AIOKafkaAdminClient(**self._kafka.client_options())
        try:
            await admin.start()
            found = await partitions_of(admin, names)
        finally:
            await admin.close()
        return [TopicPartition(name, p) for name in names for p in found[name]]

    async def has(self, topic: str) -> bool:
        """Returns whether there is such a topic."""
        return topic in await self._consumer.topics()

    async def of_key(self, topic: str, key: str) -> list[ConsumerRecord]:
        """Returns all records of one key; raises as `read`."""
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
        """Yields the records from ``start`` to before ``end``, those of a poll in the order of their time; without
        ``partitions`` of all that the topic has.

        ``on_size`` is called with the number of offsets between them, for a progress bar. Raises BrokenSetup if there
        is no such topic, KafkaSilent if the brokers go away meanwhile.
        """
        async with self._one:
            if topic not in await self._consumer.topics():
                raise BrokenSetup(f"there is no topic {topic}", hint="Workers make it, and `kounter topics create`.")
            tps = await self._places([topic]) if partitions is None else [TopicPartition(topic, p) for p in partitions]
            self._consumer.assign(tps)
            first, last = await self._offsets(tps, start, False), await self._offsets(tps, end, True)
            earliest, latest = _millis(start, -math.inf), _millis(end, math.inf)
            if on_size:
                on_size(sum(max(0, last[tp] - first[tp]) for tp in tps))
            for tp in tps:
                self._consumer.seek(tp, first[tp])
            self._tell_of_deleted(first, await self._consumer.beginning_offsets(tps), start)
            async for polled in read_to_end(self._consumer, last):
                for record in sorted(polled, key=lambda r: (r.timestamp, r.partition, r.offset)):
                    if earliest <= record.timestamp < latest:
                        yield record

    async def last(self, names: Iterable[str], count: int = LAST) -> AsyncIterator[ConsumerRecord]:
        """Yields the last records of each partition of these topics, ``count`` offsets back. Raises KafkaSilent,
        KafkaError.
        """
        async with self._one:
            there = sorted(set(names) & await self._consumer.topics())
            tps = await self._places(there)
            self._consumer.assign(tps)
            starts, ends = await self._offsets(tps, None, False), await self._offsets(tps, None, True)
            for tp in tps:
                self._consumer.seek(tp, max(starts[tp], ends[tp] - count))
            async for polled in read_to_end(self._consumer, ends):
                for record in polled:
                    yield record

    def _tell_of_deleted(
        self, first: dict[TopicPartition, int], begins: dict[TopicPartition, int], start: Point | None
    ) -> None:
        """Log the partitions that no longer have the records asked for."""
        asked = 0 if start is None else start.offset
        for tp, begin in begins.items():
            if 0 < begin == first[tp] and (asked is None or asked < begin):
                logger.warning("{} {}: its history begins at {}, what stood before was deleted", *tp, begin)

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
    """Returns a point in Kafka's milliseconds; ``otherwise`` if it is no time."""
    return otherwise if point is None or point.micros is None else -(-point.micros // 1000)
