"""What one process delivers of one partition: its queues, its offsets, and the transactions that commit both."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from aiokafka.structs import ConsumerRecord, TopicPartition

from streams.delivery.executor import CommandExecutor
from streams.delivery.job import Job
from streams.delivery.key_queues import KeyQueues
from streams.delivery.ledger import Ledger
from streams.delivery.offset_tracker import TALLY, OffsetTracker, Tally
from streams.delivery.parking import Parking
from streams.delivery.state import DeliveryState, Write
from streams.kafka.transactions import ProducerRecord, TransactionalWriter

GATHER_S: Final = 0.2
"""So long outcomes gather, unless somebody waits to call out: only the next command of a key waits for them."""
REACH: Final = 40_000
"""Offsets behind a committed one that a former owner may have tried: it read `delivery.MOST_SPAN` (8,000) ahead of what
was done, and as much may not have been committed; the rest is for markers between them. Keys of a whole backlog of
500,000 took 55 MB."""
LAST_COMMIT_S: Final = 10.0
"""If Kafka is down when the partition is given up. The transaction is then aborted by the next owner."""


class PartitionDelivery:
    """From the partition's assignment to its revocation.

    While a transaction is in flight the outcomes gather, and go together in the next one.
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
        """``end``: of the partition when it came to us; what lies before it a former owner may have tried. ``failed``
        is told of an error, after which nothing more is written; ``moved`` when there is room for more."""
        self.tracker = tracker
        self._inherited = min(end, tracker.next + REACH)
        self._met: set[bytes | None] = set()
        """Keys of inherited records."""
        self.parking = Parking(state)
        self._tp, self._state, self._ledger = tp, state, Ledger(state)
        self._executor, self._writer = executor, writer
        self._failed, self._moved = failed, moved
        self._queues: KeyQueues[Job] = KeyQueues(self._execute, failed)
        self._writes: dict[str, list[ProducerRecord]] = {}
        self._remembered = state.get(TALLY) or Tally().dump()
        self._committed: Any = tracker.mark()
        if tracker.tally == Tally():  # somebody has set the group's offsets, which leaves their metadata empty
            tracker.tally = Tally.load(self._remembered)
        self._next = _future()
        """Ends with the transaction that takes what is ready now."""
        self._dirty, self._urgent = asyncio.Event(), asyncio.Event()
        if self._mark() != self._committed:
            self._dirty.set()
        self._closing = False
        self._committer = asyncio.create_task(self._keep_committing())

    def __len__(self) -> int:
        """Records in memory that are not done."""
        return len(self._queues)

    def take(self, records: Sequence[ConsumerRecord]) -> None:
        """Queue records by their key. Those that a former owner had done are passed over."""
        for record in records:
            if not self.tracker.take(record.offset):
                self._dirty.set()
                continue
            told, tell = self.tracker.told(record.offset), self._teller(record.offset)
            inherited, tally = self._is_inherited(record), self.tracker.tally
            job = Job(record, told, tell, self._commit, self._ledger, self.parking, inherited, tally)
            self._queues.put(record.key, job)

    def _is_inherited(self, record: ConsumerRecord) -> bool:
        if record.offset >= self._inherited:
            self._met.clear()
            return False
        first = record.key not in self._met
        self._met.add(record.key)
        return first

    def skip_to(self, position: int) -> None:
        """Nothing but commit markers lies before ``position``."""
        if self.tracker.skip_to(position):
            self._dirty.set()

    async def close(self, grace_s: float | None) -> None:
        """Let calls under way end, commit what came of them, leave the rest to the next owner. None: nothing can be
        committed any more."""
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

    async def _execute(self, job: Job) -> None:
        """Ends when the transaction has: the next command of the key must not be called out before, or a crash in
        between would repeat both, and the outside would see the older one after the newer one."""
        writes = await self._executor.execute(job)
        self.tracker.finish(job.record.offset)
        await (self._commit(writes) if job.prompt else self._written(writes))
        self._moved()

    async def _commit(self, writes: list[Write]) -> None:
        """Ends with the transaction that takes them, at once."""
        self._urgent.set()
        await self._written(writes)

    async def _written(self, writes: list[Write]) -> None:
        self._add(writes)
        await asyncio.shield(self._next)

    def _mark(self) -> Any:
        """What to commit as the position: an `OffsetAndMetadata`."""
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
                await asyncio.sleep(0)  # who ends in the same moment shares the transaction
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


def _future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()
