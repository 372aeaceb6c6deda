"""All lanes of a worker: made anew, and fenced, at every rebalance."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Set
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition
from faust.types import TP
from loguru import logger

from schemas.codec.serde import Serde
from schemas.errors import EXIT_BROKEN_SETUP, BrokenSetup
from streams.aggregate import Domain
from streams.kafka.idempotent import ClockWrong
from streams.kafka.offsets import CutShort, LostOffsets, StatesDeleted, check_begin
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import AcknowledgedWriter, TransactionalWriter, Writer
from streams.lane.batch_message import BatchMessage
from streams.lane.lane import Lane
from streams.lane.processor import Folder
from streams.lane.settings import LaneSettings
from tables.store import Stores, is_broken

EXIT_LANE_FAILED: Final = 70
DRAIN_S: Final = 8.0
COMMIT_EVERY_S: Final = 2.0
NOT_WHOLE_S: Final = 0.5
"""Wait before sources are read again for a state that is not whole."""
WHOLE_WITHIN_S: Final = 30.0
"""Of the end of recovery, which reads no more of the changelog then."""
RESUMED_WITHIN_S: Final = 120.0
"""Of the end of recovery: Faust gives each of its steps until then 20 s."""


class NotWhole(Exception):
    """A state that nobody completes; after a new start it is recovered."""


class NotResumed(Exception):
    """A recovery that came to its end without Faust's noticing; after a new start there is another."""


class Stopwatch:
    """How long a condition has held, as far as it was looked at."""

    def __init__(self) -> None:
        self._since: float | None = None

    def seconds(self, holds: bool) -> float:
        """0.0 when it does not, or did not when it was last looked at."""
        now = time.monotonic()
        self._since = (self._since or now) if holds else None
        return now - self._since if self._since is not None else 0.0


class Lanes:
    """The lanes that this worker owns, their stores, and where their sources stand."""

    def __init__(
        self, app: Any, domain: Domain, serde: Serde, kafka: KafkaSettings, settings: LaneSettings, root: Path
    ) -> None:
        if settings.guarantee == "at_least_once" and any(a.decide for a in domain.aggregates):
            raise BrokenSetup(
                f"domain {domain.name} decides commands, which at_least_once could do twice",
                hint="Set KOUNTER_LANE__GUARANTEE=exactly_once.",
            )
        self._app, self.domain, self.settings, self._kafka = app, domain, settings, kafka
        self.folder = Folder(domain, serde, kafka.partitions, settings.max_state_bytes)
        self.stores = Stores(root)
        self.whose: Callable[[], Awaitable[None]] | None = None
        """Raises BrokenSetup for a Kafka that is not ours."""
        self.on_progress: Callable[[int], None] | None = None
        """Told of the records of every transaction that is done."""
        self._lanes: dict[int, Lane] = {}
        self._positions: asyncio.Task[dict[TP, int] | None] | None = None
        self._uncommitted: dict[TP, int] = {}
        self._behind = Stopwatch()
        """A state is not whole, although nothing is being recovered."""
        self._between = Stopwatch()
        """Nothing is being recovered, nor are sources read."""

    def generation(self) -> int:
        """Of the consumer group, as this worker knows it."""
        return int(self._app.consumer_generation_id)

    async def submit(self, message: BatchMessage) -> None:
        """A batch from the agent. Of a partition that is not ours it is dropped: its owner reads it."""
        lane = self._lanes.get(message.partition)
        if lane is not None:
            await lane.put(message)

    async def drain(self) -> None:
        """Before partitions are given up: let transactions in flight end."""
        try:
            await asyncio.wait_for(asyncio.gather(*(lane.drain() for lane in self._lanes.values())), DRAIN_S)
        except TimeoutError:
            logger.warning("transactions in flight did not end within {} s; they will be fenced", DRAIN_S)
        await self.commit_now()

    async def stop(self) -> None:
        """Before the process ends: nothing is left open that others would have to wait for."""
        await self.drain()
        lanes, self._lanes = list(self._lanes.values()), {}
        await asyncio.gather(*(lane.close() for lane in lanes))

    async def on_rebalance(self, assigned: set[TP], generation: int) -> None:
        """Fence every partition that is ours now, new or not, BEFORE any committed offset is read: a former owner may
        have a transaction in flight. Ours is who has the changelog's partition: see `Domain.changelog`."""
        self._check_partitions(assigned)
        await self._check_whose()
        started = time.monotonic()
        old, self._lanes = list(self._lanes.values()), {}
        await asyncio.gather(*(lane.close() for lane in old))
        if self._positions is not None:
            self._positions.cancel()
        self._positions, self._uncommitted, self._behind, self._between = None, {}, Stopwatch(), Stopwatch()
        self._end_recovery()
        changelog = self.domain.changelog
        held = {tp.partition for tp in assigned if tp.topic == changelog}
        own = sorted(tp.partition for tp in self._app.assignor.assigned_actives() if tp.topic == changelog)
        self.stores.keep(held)
        writers = {partition: self._writer(partition) for partition in own}
        await asyncio.gather(*(writer.start() for writer in writers.values()))
        changelogs = [TP(changelog, partition) for partition in sorted(held)]
        ends = await self._app.consumer.highwaters(*changelogs)
        self.stores.drop_ahead({tp.partition: end for tp, end in ends.items() if end is not None})
        begins = await self._app.consumer.earliest_offsets(*changelogs)
        self.stores.begins = {tp.partition: begin for tp, begin in begins.items() if begin is not None}
        self._check_begins(ends)
        self._lanes = {p: Lane(self, p, writer, self.stores[p]) for p, writer in writers.items()}
        logger.info(
            "generation {}: partitions {} are ours, standby for {}, fenced in {:.2f} s",
            generation, own, sorted(held - set(own)), time.monotonic() - started,
        )  # fmt: skip

    async def _check_whose(self) -> None:
        """Before anything is made of what the cluster has, or lacks."""
        if self.whose is None:
            return
        try:
            await self.whose()
        except BrokenSetup as error:
            self.fail(None, error)
        except (KafkaError, OSError, TimeoutError) as error:
            logger.debug("it can't be asked now which Kafka it is: {!r}", error)

    def _end_recovery(self) -> None:
        """What still waits to be recovered goes with its copies, as long as they are open. Faust would leave it in the
        queue: of a partition that is given up and comes back, a new copy would begin in the middle of its changelog."""
        tables = self._app.tables
        tables.recovery.flush_buffers()
        tables.changelog_queue.clear()

    def _check_partitions(self, assigned: set[TP]) -> None:
        """A topic with other partitions than all others is assigned apart from them: most of its records would go to
        workers that do not have their lane."""
        ours = {self.domain.changelog, *self.domain.sources}
        for tp in assigned:
            if tp.topic in ours and tp.partition >= self._kafka.partitions:
                error = BrokenSetup(
                    f"topic {tp.topic} has a partition {tp.partition}, {self._kafka.partitions} partitions are set",
                    hint="All topics of a domain need as many: make it anew, or give all others as many.",
                )
                self.fail(tp.partition, error)

    def _check_begins(self, ends: Mapping[TP, int | None]) -> None:
        """A copy that would begin in the middle of its changelog lacks states."""
        for tp, end in ends.items():
            begin, offset = self.stores.begins.get(tp.partition, 0), self.stores[tp.partition].offset
            try:
                check_begin(self._kafka, TopicPartition(*tp), 0 if offset is None else offset + 1, begin, end or 0)
            except StatesDeleted as error:
                self.fail(tp.partition, error)

    def _writer(self, partition: int) -> Writer:
        if self.settings.guarantee == "at_least_once":
            return AcknowledgedWriter(self._kafka, partition)
        return TransactionalWriter(self._kafka, self._app.conf.id, partition)

    async def positions(self, partition: int) -> dict[TP, int] | None:
        """Where a partition's sources go on; None: its state is not whole yet. Asked once for all lanes: the consumer
        thread serves such calls one by one."""
        if self._positions is None:
            self._positions = asyncio.create_task(self._find_positions())
        asked = self._positions
        found = await asyncio.shield(asked)
        if found is None:
            if self._positions is asked:
                self._positions = None
            return None
        return {tp: offset for tp, offset in found.items() if tp.partition == partition}

    async def _find_positions(self) -> dict[TP, int] | None:
        """None, and what was read so far is read again, if a local state is not whole yet."""
        changelog, partitions = self.domain.changelog, sorted(self._lanes)
        ends = await self._app.consumer.highwaters(*(TP(changelog, partition) for partition in partitions))
        behind = False
        for tp, end in ends.items():
            offset = self.stores[tp.partition].offset
            if end and (-1 if offset is None else offset) < end - 1:
                behind = True
                self.folder.stats.not_recovered += 1
                logger.warning("{}: local state at {}, changelog ends at {}: not folding yet", tp, offset, end)
        self._look_behind(behind)
        if behind:
            await asyncio.sleep(NOT_WHOLE_S)
        positions = await self._read_positions()
        if behind:
            # Not `perform_seek`: it leaves out partitions for which nothing was ever committed.
            await self.seek(positions)
            return None
        return positions

    def _look_behind(self, behind: bool) -> None:
        """Raises NotWhole."""
        if self._behind.seconds(behind and not self._app.in_recovery) > WHOLE_WITHIN_S:
            raise NotWhole(f"recovery is over, and after {WHOLE_WITHIN_S:.0f} s states still lack records")

    async def _read_positions(self) -> dict[TP, int]:
        """Committed offsets of our sources; the first there is where nothing was committed. Raises LostOffsets and
        CutShort."""
        consumer = self._app.consumer
        sources = {
            tp
            for tp in self._app.assignor.assigned_actives()
            if tp.topic in self.domain.by_topic and tp.partition in self._lanes
        }
        committed: Mapping[TP, int | None] = await consumer.committed_offsets(sources)
        if self.settings.guarantee == "exactly_once":
            self._check_committed(committed)
        unread = [tp for tp, offset in committed.items() if offset is None]
        first: Mapping[TP, int] = await consumer.earliest_offsets(*unread) if unread else {}
        for tp, begin in first.items():
            if begin > 0:
                logger.warning("{} {}: what stood before {} was deleted, and is never folded", *tp, begin)
        positions = {tp: first[tp] if offset is None else offset for tp, offset in committed.items()}
        await self.check_ends(positions)
        return positions

    async def check_ends(self, positions: Mapping[TP, int]) -> None:
        """Raises CutShort if a topic ends before its position. The consumer knows ends, too, but older ones."""
        ends: Mapping[TP, int | None] = await self._app.consumer.highwaters(*positions) if positions else {}
        for tp, end in ends.items():
            self.check_end(tp, positions[tp], end)

    def check_end(self, tp: TP, at: int, end: int | None) -> None:
        """Raises CutShort."""
        if end is not None and at > end:
            raise CutShort(self._app.conf.id, TopicPartition(tp.topic, tp.partition), at, end)

    def _check_committed(self, committed: Mapping[TP, int | None]) -> None:
        """States and offsets are committed together: states without the offset of any source mean that those are lost.
        Raises LostOffsets."""
        for partition in self._lanes:
            offsets = [offset for tp, offset in committed.items() if tp.partition == partition]
            if all(offset is None for offset in offsets) and any(self.stores[partition].items()):
                raise LostOffsets(self._app.conf.id, TopicPartition(self.domain.changelog, partition))

    def count_deleted(self) -> None:
        """What the consumer had to pass over is told by it, once."""
        self.folder.stats.deleted = self._app.consumer.deleted(self.domain.sources)

    def is_settled(self) -> bool:
        """Sources are being read: no rebalance, no recovery. Raises NotResumed."""
        recovering = bool(self._app.in_recovery)
        between = bool(self._app.rebalancing) and not recovering
        if self._between.seconds(between) > RESUMED_WITHIN_S:
            raise NotResumed(f"recovery is over, and after {RESUMED_WITHIN_S:.0f} s the sources are not read again")
        return not recovering and not between

    def missing(self, positions: Mapping[TP, int], queued: Set[TP]) -> dict[TP, int]:
        """Those positions of a lane behind which the consumer gave records away that are neither queued nor under
        way."""
        consumer = self._app.consumer
        coming = queued | consumer.under_way()
        return {tp: at for tp, at in positions.items() if tp not in coming and consumer.handed_out(tp) > at}

    async def seek(self, positions: dict[TP, int]) -> None:
        """Have the consumer read on from ``positions``."""
        await self._app.consumer.seek_wait(positions)

    def commit_later(self, ends: Mapping[TP, int]) -> None:
        """Source offsets of work that is safe already (without transactions)."""
        self._uncommitted.update(ends)

    async def commit_now(self) -> None:
        """Commit them."""
        offsets, self._uncommitted = self._uncommitted, {}
        if offsets:
            await self._app.consumer.commit_offsets(offsets)

    def progressed(self, records: int) -> None:
        """Called after every transaction."""
        if self.on_progress is not None:
            self.on_progress(records)

    def fail(self, partition: int | None, error: BaseException) -> None:
        """End the process. An app that only crashed would go on acknowledging: the next batch would commit past the
        hole. The supervisor starts it again and it reads on from what is committed; not if the setup is broken."""
        what = self.domain.name if partition is None else f"lane {partition}"
        if isinstance(error, BrokenSetup):
            code = EXIT_BROKEN_SETUP
            logger.critical("{}: {} {} Leaving with {}.", what, error.message, error.hint, code)
        elif isinstance(error, ClockWrong):  # the supervisor's next start may find the clock set
            code = EXIT_LANE_FAILED
            logger.critical("{}: {} Leaving with {}.", what, error, code)
        else:
            code = EXIT_LANE_FAILED
            if partition is not None and is_broken(error):  # only where it is read: it could be opened again and again
                with suppress(Exception):
                    self.stores.wipe(partition)
            logger.opt(exception=error).critical("{} failed, leaving with {}", what, code)
        logger.complete()
        os._exit(code)
