"""The lane of one partition: takes the queued records, folds them, commits them in one transaction, then stores the
states locally.

Group commit: records that come while a transaction is in flight go together in the next one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from aiokafka.structs import TopicPartition
from faust.types import TP
from loguru import logger

from streams.kafka.transactions import NO_HEADERS, ProducerRecord, Writer, new_record
from streams.lane.batch_message import BatchMessage
from streams.lane.processor import BatchProcessor, Folded
from streams.lane.settings import LaneSettings
from streams.lane.sources import Sources
from tables.store import PartitionStore

MOST_BYTES: Final = 8 << 20
"""Bytes read for one transaction: it must end in time, and many lanes fit in a worker's memory, with large records,
too.
"""
SKIPPED_S: Final = 0.5
LOOK_S: Final = 1.0
"""Seconds between checks whether all records that were handed out have come."""
FORGET_S: Final = 60.0
"""Seconds between requests for unknown schema ids."""


class Lane:
    """One partition, over all topics of the domain, for one generation of the consumer group."""

    def __init__(
        self,
        partition: int,
        writer: Writer,
        store: PartitionStore,
        processor: BatchProcessor,
        sources: Sources,
        settings: LaneSettings,
        changelog: str,
        *,
        on_progress: Callable[[int], None],
        on_failure: Callable[[int, BaseException], None],
    ) -> None:
        """``on_progress`` is called with the records of each transaction, ``on_failure`` when the lane can't go on."""
        self.partition, self.writer, self._store, self._changelog = partition, writer, store, changelog
        self._processor, self._sources, self._settings = processor, sources, settings
        self._on_progress, self._on_failure = on_progress, on_failure
        self._max = settings.max_records
        self._gather = settings.gather_ms / 1000
        self._queue: list[BatchMessage] = []
        self._queued = self._queued_bytes = 0
        self._next: dict[TP, int] | None = None
        """The offset at which each source goes on; None until the state is known to be whole."""
        self._skipped: dict[TP, int] = {}
        """Positions behind markers, aborted records and records that changed nothing, not committed yet: while there is
        work they are committed with it.
        """
        self._known = 0
        """Records before those positions that changed nothing."""
        self._committed = 0.0
        self._closed = False
        self._busy = asyncio.Lock()
        self._arrived, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()
        self._forgot = self._looked = time.monotonic()
        self._at_door: set[TP] = set()
        """Partition of the batch that waits for room in `put`."""
        self._missing: dict[TP, int] = {}
        """Positions behind which records were handed out that had not come at the last check."""
        self._task = asyncio.create_task(self._run(), name=f"lane-{partition}")

    async def put(self, message: BatchMessage) -> None:
        """Queue a batch; waits while as many records are queued as two transactions take."""
        self._at_door = {message.tp}
        await self._room.wait()
        self._at_door = set()
        if self._closed:
            return
        self._queue.append(message)
        self._queued += len(message.value)
        self._queued_bytes += message.weight
        self._arrived.set()
        if not self._has_room():
            self._room.clear()

    def _has_room(self) -> bool:
        return self._queued < 2 * self._max and self._queued_bytes < 2 * MOST_BYTES

    async def drain(self) -> None:
        """Start nothing new and wait for the transaction in flight; its records stay ours."""
        self._closed = True
        async with self._busy:
            pass

    async def close(self) -> None:
        """End at once. An open transaction is aborted when the partition's next owner fences this one."""
        self._closed = True
        self._room.set()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.writer.stop()

    def _take(self) -> list[BatchMessage]:
        """Returns queued messages in order of arrival, up to the size of one transaction."""
        count = records = weight = 0
        for message in self._queue:
            if count and (records + len(message.value) > self._max or weight + message.weight > MOST_BYTES):
                break
            count += 1
            records += len(message.value)
            weight += message.weight
        taken = self._queue[:count]
        del self._queue[:count]
        self._queued -= records
        self._queued_bytes -= weight
        if self._has_room():
            self._room.set()
        return taken

    async def _run(self) -> None:
        try:
            while not self._closed:
                if await self._has_arrived():
                    await asyncio.sleep(self._gather)
                async with self._busy:
                    if not self._closed:
                        await self._work()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            # Any error counts: going on would commit past records that were not folded.
            self._on_failure(self.partition, error)

    async def _has_arrived(self) -> bool:
        """Wait for records. Returns False if none came for a while."""
        if self._queue:
            return True
        self._arrived.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(SKIPPED_S):
                await self._arrived.wait()
        return bool(self._queue)

    async def _work(self) -> None:
        if self._queue:
            await self._process(self._take())
        elif self._skipped:  # without records to go with: so that lag comes to 0
            await self._commit(Folded({}, {}), {})
        if time.monotonic() - self._looked > LOOK_S:
            self._looked = time.monotonic()
            self._sources.count_deleted()
            await self._look()

    async def _look(self) -> None:
        """Have records read again that were handed out and never came: missing at two checks, with none on the way.
        Faust silently drops records around rebalances at several places, and if none follow, there is no gap.
        """
        before, self._missing = self._missing, {}
        if not self._sources.is_settled():
            return
        if self._next is None:
            self._next = await self._sources.positions(self.partition)
        queued = {message.tp for message in self._queue}
        self._missing = self._sources.missing(self._next or {}, queued | self._at_door)
        again = {tp: position for tp, position in self._missing.items() if before.get(tp) == position}
        if again:
            self._processor.stats.gaps += len(again)
            logger.warning("records from {} on did not come: reading again", again)
            await self._sources.seek(again)

    async def _process(self, messages: list[BatchMessage]) -> None:
        if self._next is None:
            self._next = await self._sources.positions(self.partition)
            if self._next is None:
                return
        ends, batches = await self._contiguous(messages, self._next)
        if not ends:
            return
        processor, stats = self._processor, self._processor.stats
        if time.monotonic() - self._forgot > FORGET_S:
            self._forgot = time.monotonic()
            processor.forget_unreadable()
        started = time.perf_counter()
        folded = await processor.fold(self.partition, list(batches.items()), self._store.get)
        folded_at = time.perf_counter()
        self._next.update(ends)
        self._known += sum(len(records) for records in batches.values())
        if not folded.states and not folded.writes and folded_at - self._committed < SKIPPED_S:
            # Our own events read back, for one. Read again after a crash they change nothing again: an event that would
            # let them is committed with or after their position.
            self._skipped.update(ends)
            return
        offset = await self._commit(folded, ends)
        committed_at = time.perf_counter()
        if offset is not None:
            changelog = TP(self._changelog, self.partition)
            # The topic may have been deleted and created again while we wrote to it.
            self._sources.check_end(changelog, self._store.offset or 0, offset)
            self._store.write(folded.states, offset)
        stats.transactions += 1
        stats.fold_seconds += folded_at - started
        stats.commit_seconds += committed_at - folded_at
        stats.store_seconds += time.perf_counter() - committed_at

    async def _contiguous(
        self, messages: list[BatchMessage], positions: dict[TP, int]
    ) -> tuple[dict[TP, int], dict[str, list[Any]]]:
        """Returns the records that join on to the positions, by topic, and the new position of each source."""
        stats, generation = self._processor.stats, self._sources.generation()
        ends: dict[TP, int] = {}
        batches: dict[str, list[Any]] = {}
        for message in messages:
            tp = message.tp
            position = ends.get(tp, positions.get(tp))
            if position is None or message.generation_id != generation:
                continue  # a topic that this partition's owner does not have yet, or a record for a former owner
            records = message.value
            if message.base > position:
                stats.gaps += 1
                logger.warning("{}: records start at {}, position is {}: reading again", tp, message.base, position)
                await self._sources.seek({tp: position})
                continue
            if message.base < position:
                stats.overlaps += 1
                if message.offset < position:
                    await self._sources.check_ends({tp: position})
                    continue
                records = [record for record in records if record.offset >= position]
            if records:
                ends[tp] = message.offset + 1
                batches.setdefault(tp.topic, []).extend(records)
            elif tp in ends:
                ends[tp] = message.offset + 1
            else:
                positions[tp] = self._skipped[tp] = message.offset + 1
        return ends, batches

    async def _commit(self, folded: Folded, ends: dict[TP, int]) -> int | None:
        changelog = self._changelog
        writes = dict(folded.writes)
        if folded.states:
            writes[changelog] = [
                new_record(ProducerRecord, (key, value, NO_HEADERS, None)) for key, value in folded.states.items()
            ]
        ends = {**self._skipped, **ends}
        self._skipped = {}
        offsets = {TopicPartition(tp.topic, tp.partition): end for tp, end in ends.items()}
        offset = await self.writer.commit(changelog, writes, offsets)
        self._committed = time.perf_counter()
        self._on_progress(self._known)
        self._known = 0
        if self._settings.guarantee == "at_least_once":
            self._sources.commit_later(ends)
        return offset
