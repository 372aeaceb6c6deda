"""One writer's time in its seat: from the fence to the first error, or to the loss of the seat.

Numbers, memory and positions go in ONE transaction. Its fence comes before anything is read: a former writer that still
lives can commit nothing after it. The last number is that of the log's last record; offsets are no numbers, as markers
and aborted records have some too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition
from loguru import logger

from schemas.backend import CHANGES, EVENTS, BackendChange, BackendEvent, WaitingRelease
from schemas.codec.decoding import HEADER_SIZE
from schemas.codec.serde import Known, Serde
from schemas.errors import RegistryUnavailable, UndecodableRecord
from streams.backend_log import memory
from streams.backend_log.backlog import PLACE, Backlog
from streams.backend_log.numbering import numbered
from streams.backend_log.parents_first import Held, ParentsFirst
from streams.backend_log.topics import GROUP, MEMORY, last_event
from streams.delivery.state import DeliveryState, DeliveryStates
from streams.kafka import dead_letters
from streams.kafka.batches.unpacking import stand
from streams.kafka.consumer import POLL_MS, committed_consumer, stop
from streams.kafka.deleted_records import tell
from streams.kafka.offsets import CutShort, LostOffsets, committed_offsets
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import OtherPartition, ProducerRecord, TransactionalWriter
from streams.resilience import backoff

BATCH: Final = 3_000
"""Changes of one transaction."""
OURS: Final = ("ce_source", b"kounter/estate")
"""The header of the lanes' own changes."""


@dataclass
class LogStats:
    """Totals since the start; ``last``, ``waiting`` and ``oldest_s`` are of now."""

    taken: int = 0
    written: int = 0
    last: int = 0
    """The log's last number."""
    waiting: int = 0
    """Changes that wait for a parent or a reference."""
    oldest_s: float = 0.0
    """Seconds for which the oldest of them waits."""
    sent_without: int = 0
    """Changes that were sent without all that they refer to."""
    undecodable: int = 0
    transactions: int = 0
    tenures: int = 0


class Tenure:
    """Reads changes, numbers what may go, until cancelled."""

    def __init__(self, kafka: KafkaSettings, serde: Serde, folder: Path, *, wait_s: float, stats: LogStats) -> None:
        self._kafka, self._serde, self._wait_ms, self._stats = kafka, serde, int(wait_s * 1_000), stats
        self._writer = TransactionalWriter(kafka, GROUP, 0)
        self._states = DeliveryStates(kafka, MEMORY, folder / GROUP)
        self._reader = committed_consumer(kafka, auto_offset_reset="none")
        stand(self._reader)
        self._encode: Callable[[Any], bytes] = serde.encoder(EVENTS, BackendEvent)
        self._last = 0

    async def run(self, ready: Callable[[], None]) -> None:
        """Calls ``ready`` once it writes. Raises KafkaError, ProducerFenced among them, LostOffsets and CutShort."""
        try:
            await self._writer.start()
            state = (await self._states.open([0]))[0]
            await self._reader.start()
            await self._find_last()
            await self._seek(worked=bool(self._last) or not state.is_blank())
            held = memory.held_in(state.scan(memory.HELD))
            order = ParentsFirst(memory.stored(state.get), held, wait_ms=self._wait_ms)
            self._stats.tenures += 1
            ready()
            while True:
                await self._step(order, state)
        finally:
            await self._writer.stop()
            await stop(self._reader)
            self._states.close()

    async def _find_last(self) -> None:
        event = await last_event(self._reader, self._serde)
        self._last = self._stats.last = 0 if event is None else event.update_id

    async def _seek(self, *, worked: bool) -> None:
        """Set the reader behind what is in the log. ``worked``: so the group must have offsets."""
        tps = [TopicPartition(CHANGES, p) for p in range(self._kafka.partitions)]
        self._reader.assign(tps)
        admin = AIOKafkaAdminClient(**self._kafka.client_options(), request_timeout_ms=15_000)
        try:
            await admin.start()
            committed = await committed_offsets(admin, GROUP, tps)
        finally:
            await admin.close()
        begins, ends = await self._reader.beginning_offsets(tps), await self._reader.end_offsets(tps)
        for tp in tps:
            at = committed[tp].offset if tp in committed else -1
            if at < 0 and worked:
                raise LostOffsets(GROUP, tp)
            if at > ends[tp]:
                raise CutShort(GROUP, tp, at, ends[tp])
            if begins[tp] > max(at, 0):
                tell(tp.topic, tp.partition, max(at, 0), begins[tp])
            self._reader.seek(tp, max(at, begins[tp]))

    async def _step(self, order: ParentsFirst, state: DeliveryState) -> None:
        """Take what has come, and commit what it lets go."""
        polled = await self._reader.getmany(timeout_ms=POLL_MS, max_records=BATCH)
        now = time.time_ns() // 1_000_000
        released, letters = order.expire(now), list[ProducerRecord]()
        known, take = self._serde.decoders.get, order.take
        for records in polled.values():
            for record in records:
                value, headers = record.value, record.headers
                try:
                    row: Any = (known(value[:HEADER_SIZE] if value else b"") or await self._learn(value)).decode(value)
                    if isinstance(row, WaitingRelease):
                        released += order.release(row.subject, now)
                        continue
                    _check(row, headers)
                except UndecodableRecord as error:
                    letters.append(dead_letters.dead_letter(CHANGES, record, error, "number"))
                    continue
                released += take(row, now, headers, record.timestamp)
        backlog = Backlog(len(order), order.oldest_ms)
        if polled or released:
            await self._commit(order, state, released, letters, backlog)
        stats = self._stats
        stats.taken += sum(map(len, polled.values()))
        stats.undecodable += len(letters)
        stats.waiting, stats.oldest_s = backlog.waiting, backlog.age_s(now)

    async def _learn(self, value: bytes | None) -> Known:
        """Returns the writer's schema of a record; waits while the registry is down. Raises UndecodableRecord."""
        if not value:
            raise UndecodableRecord("null_value", "a change without a value changes nothing")
        failed = 0
        while True:
            try:
                return await self._serde.learn(value[:HEADER_SIZE])
            except RegistryUnavailable as error:
                wait = backoff(failed, 0.5, 15.0)
                failed += 1
                logger.warning("{}: waiting {:.1f} s for the registry: {}", GROUP, wait, error.message)
                await asyncio.sleep(wait)

    async def _commit(
        self,
        order: ParentsFirst,
        state: DeliveryState,
        released: Sequence[Held],
        letters: list[ProducerRecord],
        backlog: Backlog,
    ) -> None:
        entries = memory.entries(order.effects())
        records = numbered(released, self._last, self._encode)
        to = {EVENTS: records, MEMORY: entries, OtherPartition(dead_letters.TOPIC, 0): letters}
        writes: Mapping[Any, list[ProducerRecord]] = {topic: those for topic, those in to.items() if those}
        positions: dict[TopicPartition, Any] = await _positions(self._reader)
        positions[PLACE] = backlog.at(positions[PLACE])
        offset = await self._writer.commit(MEMORY, writes, positions)
        if offset is not None:
            state.apply(entries, offset)
        order.settle()
        self._last += len(records)
        self._stats.last, self._stats.sent_without = self._last, self._stats.sent_without + order.sent_without
        order.sent_without = 0
        self._stats.written += len(records)
        self._stats.transactions += 1


async def _positions(consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
    """Returns all positions: a partition without one would look like one whose offsets were lost."""
    return {tp: await consumer.position(tp) for tp in consumer.assignment()}


def _check(row: Any, headers: Sequence[tuple[str, bytes]]) -> None:
    """Raises UndecodableRecord for another record than a change, and for one that can't be the inside of a frame. A
    frame of our own lanes is JSON, so it is not parsed: that would be a tenth of the writer's time."""
    if not isinstance(row, BackendChange):
        raise UndecodableRecord("foreign_record", f"{type(row).__name__} is no record of {CHANGES}")
    frame = row.frame
    try:
        is_object = frame.startswith("{") and frame.endswith("}")
        if is_object and (OURS in headers or isinstance(orjson.loads(frame), dict)):
            return
    except orjson.JSONDecodeError:
        pass
    raise UndecodableRecord("no_frame", "a change whose frame is no JSON object")
