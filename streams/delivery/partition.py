"""The delivery of one partition: its queues, its offsets, and the transactions that commit both."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from aiokafka.structs import ConsumerRecord, TopicPartition

from schemas.parking import ParkedOrder
from streams.delivery.executor import CommandExecutor
from streams.delivery.job import Job
from streams.delivery.key_queues import KeyQueues
from streams.delivery.ledger import Ledger
from streams.delivery.offset_tracker import TALLY, OffsetTracker, Tally
from streams.delivery.ordered_runs import OrderedRuns
from streams.delivery.parking import Parking
from streams.delivery.state import DeliveryState, Write
from streams.kafka.transactions import ProducerRecord, TransactionalWriter
from streams.ports import OrderedSink, Sink

GATHER_S: Final = 0.2
"""Seconds for which outcomes are gathered for one transaction, unless a call waits for it; the next command of a key
does.
"""
REACH: Final = 40_000
"""Offsets behind a committed one that a former owner may have tried: it read `session.MOST_SPAN` (8,000) ahead of what
was done, and as much may not have been committed; the rest is for markers between them. Keys of a whole backlog of
500,000 took 55 MB.
"""
LAST_COMMIT_S: Final = 10.0
"""Seconds for the last commit if Kafka is down when the partition is given up; the next owner aborts it then."""


class PartitionDelivery:
    """Delivers a partition from its assignment to its revocation.

    Outcomes that come while a transaction is in flight go together in the next one.
    """

    def __init__(
        self,
        tp: TopicPartition,
        tracker: OffsetTracker,
        end: int,
        state: DeliveryState,
        executor: CommandExecutor,
        writer: TransactionalWriter,
        failed: Callable[[BaseException], None],
        moved: Callable[[], None],
    ) -> None:
        """``end`` is the end offset of the partition when it came to us: a former owner may have tried commands before
        it. ``failed`` is called with an error, after which nothing more is written; ``moved`` when there is room for
        more commands.
        """
        self.tracker = tracker
        self._inherited = min(end, tracker.next + REACH)
        self._met: set[bytes | None] = set()
        """Keys of inherited records."""
        self.parking = Parking(state)
        self._tp, self._state, self._ledger = tp, state, Ledger(state)
        self._executor, self._writer = executor, writer
        self._failed, self._moved = failed, moved
        self._queues = self._queues_of(executor.sink)
        self._jobs: dict[int, Job] = {}
        """Jobs that are not done, by offset."""
        self._orders: dict[int, tuple[bytes | None, str]] = {}
        """Orders to park commands that have not been read yet, by the command's offset: the key and the person."""
        self._writes: dict[str, list[ProducerRecord]] = {}
        self._remembered = state.get(TALLY) or Tally().dump()
        self._committed: Any = tracker.mark()
        if tracker.tally == Tally():  # a person has set the group's offsets, which leaves their metadata empty
            tracker.tally = Tally.load(self._remembered)
        self._next = _future()
        """Ends with the transaction that takes the writes that are ready now."""
        self._dirty, self._urgent = asyncio.Event(), asyncio.Event()
        if self._mark() != self._committed:
            self._dirty.set()
        self._closing = False
        self._committer = asyncio.create_task(self._keep_committing())

    def __len__(self) -> int:
        """Records in memory that are not done."""
        return len(self._queues)

    def take(self, records: Sequence[ConsumerRecord]) -> None:
        """Queue records by their key. Those that a former owner has done are passed over."""
        for record in records:
            if not self.tracker.take(record.offset):
                self._dirty.set()
                continue
            told, tell = self.tracker.told(record.offset), self._teller(record.offset)
            inherited, tally = self._is_inherited(record), self.tracker.tally
            job = Job(record, told, tell, self._commit, self._ledger, self.parking, inherited, tally)
            self._jobs[record.offset] = job
            if (order := self._orders.pop(record.offset, None)) is not None:
                _interrupt(job, order)
            self._queues.put(record.key, job)

    def park(self, record: ConsumerRecord, order: ParkedOrder) -> None:
        """Park the commands that an order names, of its key, and that are not done; ``record`` is the order's."""
        named = record.key, order.by or "an order"
        for offset in order.offsets:
            if (job := self._jobs.get(offset)) is not None:
                _interrupt(job, named)
            elif self.tracker.next <= offset < record.offset:
                self._orders[offset] = named

    def _is_inherited(self, record: ConsumerRecord) -> bool:
        if record.offset >= self._inherited:
            self._met.clear()
            return False
        first = record.key not in self._met
        self._met.add(record.key)
        return first

    def skip_to(self, position: int) -> None:
        """Move to ``position``: only commit markers lie before it."""
        if self.tracker.skip_to(position):
            self._dirty.set()

    async def close(self, grace_s: float | None) -> None:
        """Let calls under way end within ``grace_s`` seconds, commit their outcomes, and leave the rest to the next
        owner. None means that nothing can be committed any more.
        """
        await self._queues.close(grace_s or 0.0)
        self._closing = True
        self._dirty.set()
        self._urgent.set()
        if grace_s is None:
            self._committer.cancel()
        await asyncio.wait({self._committer}, timeout=LAST_COMMIT_S)
        self._committer.cancel()
        await asyncio.gather(self._committer, return_exceptions=True)
        await self._writer.stop()

    def _queues_of(self, sink: Sink) -> KeyQueues[Job] | OrderedRuns[Job]:
        if isinstance(sink, OrderedSink):
            return OrderedRuns(self._execute, self._failed, sink.run_of)
        return KeyQueues(self._execute, self._failed)

    async def _execute(self, job: Job) -> None:
        """Execute a job and wait for its transaction: if the next command of the key began before that, a crash in
        between would repeat both, and the outside system would get the older one after the newer one.
        """
        writes = await self._executor.execute(job)
        self.tracker.finish(job.record.offset)
        del self._jobs[job.record.offset]
        await (self._commit(writes) if job.prompt else self._written(writes))
        self._moved()

    async def _commit(self, writes: list[Write]) -> None:
        """Commit writes at once, and wait for the transaction."""
        self._urgent.set()
        await self._written(writes)

    async def _written(self, writes: list[Write]) -> None:
        self._add(writes)
        await asyncio.shield(self._next)

    def _mark(self) -> Any:
        """Returns the position to commit: an `OffsetAndMetadata`."""
        tally = self.tracker.tally
        tally.parked, tally.parked_keys = self.parking.records, self.parking.keys
        return self.tracker.mark()

    def _teller(self, offset: int) -> Callable[[list[Write]], None]:
        def tell(writes: list[Write]) -> None:
            self._add(writes)
            self.tracker.tell(offset)

        return tell

    def _add(self, writes: list[Write]) -> None:
        for topic, entry in writes:
            self._writes.setdefault(topic, []).append(entry)
        self._dirty.set()

    async def _keep_committing(self) -> None:
        try:
            while not self._closing or self._dirty.is_set():
                await self._dirty.wait()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(GATHER_S):
                        await self._urgent.wait()
                await asyncio.sleep(0)  # jobs that end in the same moment share the transaction
                self._dirty.clear()
                if not self._closing:
                    self._urgent.clear()
                mark, writes, done = self._mark(), self._writes, self._next
                self._writes, self._next = {}, _future()
                if (counts := self.tracker.tally.dump()) != self._remembered:
                    writes.setdefault(self._state.changelog, []).append(ProducerRecord(TALLY, counts))
                    self._remembered = counts
                if writes or mark != self._committed:
                    offset = await self._writer.commit(self._state.changelog, writes, {self._tp: mark})
                    if offset is not None:
                        self._state.apply(writes[self._state.changelog], offset)
                    self._committed = mark
                    self._executor.stats.transactions += 1
                done.set_result(None)
        except Exception as error:
            self._failed(error)


def _interrupt(job: Job, order: tuple[bytes | None, str]) -> None:
    key, by = order
    if job.record.key == key:
        job.interrupt.request(by)


def _future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()
