"""Reading topics from one point to another, outside of any consumer group."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, Self

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord, TopicPartition

from schemas.errors import InvalidInput
from schemas.fields import to_micros
from schemas.kafka import KafkaSettings, partition_of

POLL_MS: Final = 300
UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Point(NamedTuple):
    """A place in a topic: a time or an offset."""

    micros: int | None = None
    offset: int | None = None


def parse_point(text: str, now: datetime) -> Point:
    """``2026-11-01T00:00:00Z``, ``-1h`` (s, m, h, d before ``now``) or ``offset:123``. Raises InvalidInput."""
    try:
        if text.startswith("offset:"):
            return Point(offset=int(text[7:]))
        if text.startswith("-") and text[-1] in UNITS:
            return Point(micros=to_micros(now - timedelta(**{UNITS[text[-1]]: float(text[1:-1])})))
        moment = datetime.fromisoformat(text)
        return Point(micros=to_micros(moment if moment.tzinfo else moment.replace(tzinfo=UTC)))
    except (ValueError, OverflowError):
        expected = "a time (2026-11-01T00:00:00Z), a span back (-1h) or offset:123"
        raise InvalidInput("--from/--to", expected, text) from None


class TopicReader:
    """Committed records only; ends where the topic ended when reading began."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka

    async def __aenter__(self) -> Self:
        self._consumer = AIOKafkaConsumer(
            **self._kafka.client_options(),
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            fetch_max_wait_ms=50,
        )
        await self._consumer.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._consumer.stop()

    def partition(self, key: str) -> int:
        """Where records of ``key`` are."""
        return partition_of(key.encode(), self._kafka.partitions)

    async def of_key(self, topic: str, key: str) -> list[ConsumerRecord]:
        """All records of one key."""
        raw = key.encode()
        return [record async for record in self.read(topic, partitions=[self.partition(key)]) if record.key == raw]

    async def read(
        self,
        topic: str,
        *,
        start: Point | None = None,
        end: Point | None = None,
        partitions: list[int] | None = None,
        on_size: Callable[[int], None] | None = None,
    ) -> AsyncIterator[ConsumerRecord]:
        """Records from ``start`` until ``end``, those of a poll in the order of their time.

        ``on_size`` is told how many offsets lie between, for a progress bar.
        """
        chosen = range(self._kafka.partitions) if partitions is None else partitions
        tps = [TopicPartition(topic, p) for p in chosen]
        self._consumer.assign(tps)
        first, last = await self._offsets(tps, start, False), await self._offsets(tps, end, True)
        if on_size:
            on_size(sum(max(0, last[tp] - first[tp]) for tp in tps))
        for tp in tps:
            self._consumer.seek(tp, first[tp])
        while any([await self._consumer.position(tp) < last[tp] for tp in tps]):
            polled: list[ConsumerRecord] = []
            for tp, records in (await self._consumer.getmany(timeout_ms=POLL_MS)).items():
                polled += [record for record in records if record.offset < last[tp]]
            for record in sorted(polled, key=lambda r: (r.timestamp, r.partition, r.offset)):
                yield record

    async def _offsets(self, tps: list[TopicPartition], point: Point | None, is_end: bool) -> dict[TopicPartition, int]:
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(tps)
        starts: dict[TopicPartition, int] = await self._consumer.beginning_offsets(tps)
        if point is None:
            return ends if is_end else starts
        if point.offset is not None:
            return {tp: min(max(point.offset, starts[tp]), ends[tp]) for tp in tps}
        millis = (point.micros or 0) // 1000
        found: dict[TopicPartition, Any] = await self._consumer.offsets_for_times(dict.fromkeys(tps, millis))
        return {tp: ends[tp] if found.get(tp) is None else found[tp].offset for tp in tps}
