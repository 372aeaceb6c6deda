"""Positions of the source partitions of a worker's lanes, and the records that were handed out and never came."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Set
from typing import Any, Final

from aiokafka.structs import TopicPartition
from faust.types import TP
from loguru import logger

from streams.aggregate import Domain
from streams.kafka.offsets import CutShort, LostOffsets
from streams.lane.settings import Guarantee
from streams.lane.stats import Stats
from tables.store import Stores

NOT_WHOLE_S: Final = 0.5
"""Seconds before sources are read again for a state that is not whole."""
WHOLE_WITHIN_S: Final = 30.0
"""Seconds after the end of recovery, after which the changelog is read no further."""
RESUMED_WITHIN_S: Final = 120.0
"""Seconds after the end of recovery: Faust gives each of its steps until then 20 s."""


class NotWhole(Exception):
    """A state that is not completed; after a new start it is recovered."""


class NotResumed(Exception):
    """A recovery that ended without Faust's noticing; after a new start there is another."""


class Stopwatch:
    """Measures how long a condition has held, as far as it was checked."""

    def __init__(self) -> None:
        self._since: float | None = None

    def seconds(self, holds: bool) -> float:
        """Returns the seconds; 0.0 if the condition does not hold, or did not at the last check."""
        now = time.monotonic()
        self._since = (self._since or now) if holds else None
        return now - self._since if self._since is not None else 0.0


class Sources:
    """The source partitions of all lanes of a worker, over Faust's consumer."""

    def __init__(self, app: Any, domain: Domain, guarantee: Guarantee, stores: Stores, stats: Stats) -> None:
        self._app, self._domain, self._guarantee = app, domain, guarantee
        self._stores, self._stats = stores, stats
        self.partitions: Collection[int] = ()
        """The partitions of the present generation's lanes."""
        self._positions: asyncio.Task[dict[TP, int] | None] | None = None
        self._uncommitted: dict[TP, int] = {}
        self._behind = Stopwatch()
        """A state is not whole, although nothing is being recovered."""
        self._between = Stopwatch()
        """Nothing is being recovered, nor are sources read."""

    def end_generation(self) -> None:
        """Forget the data of one generation; a lookup of positions that is under way is cancelled."""
        if self._positions is not None:
            self._positions.cancel()
        self.partitions, self._positions, self._uncommitted = (), None, {}
        self._behind, self._between = Stopwatch(), Stopwatch()

    def generation(self) -> int:
        """Returns the consumer group's generation, as this worker knows it."""
        return int(self._app.consumer_generation_id)

    async def positions(self, partition: int) -> dict[TP, int] | None:
        """Returns the positions at which a partition's sources go on; None: its state is not whole yet. They are
        requested once for all lanes: the consumer thread serves such calls one by one.

        Raises NotWhole, LostOffsets, CutShort and KafkaError.
        """
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
        """Returns the positions of all, or None if a local state is not whole yet: the records read so far are then
        read again.
        """
        changelog, partitions = self._domain.changelog, sorted(self.partitions)
        ends = await self._app.consumer.highwaters(*(TP(changelog, partition) for partition in partitions))
        behind = False
        for tp, end in ends.items():
            offset = self._stores[tp.partition].offset
            if end and (-1 if offset is None else offset) < end - 1:
                behind = True
                self._stats.not_recovered += 1
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
        """Raise NotWhole if a state has stayed behind for too long."""
        if self._behind.seconds(behind and not self._app.in_recovery) > WHOLE_WITHIN_S:
            raise NotWhole(f"recovery is over, and after {WHOLE_WITHIN_S:.0f} s states still lack records")

    async def _read_positions(self) -> dict[TP, int]:
        """Returns the committed offsets of our sources, or the first offset where nothing was committed. Raises
        LostOffsets and CutShort.
        """
        consumer = self._app.consumer
        sources = {
            tp
            for tp in self._app.assignor.assigned_actives()
            if tp.topic in self._domain.by_topic and tp.partition in self.partitions
        }
        committed: Mapping[TP, int | None] = await consumer.committed_offsets(sources)
        if self._guarantee == "exactly_once":
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
        """Raise CutShort if a topic ends before its position. The consumer has ends, too, but older ones."""
        ends: Mapping[TP, int | None] = await self._app.consumer.highwaters(*positions) if positions else {}
        for tp, end in ends.items():
            self.check_end(tp, positions[tp], end)

    def check_end(self, tp: TP, at: int, end: int | None) -> None:
        """Raise CutShort if the topic ends at ``end``, before the position."""
        if end is not None and at > end:
            raise CutShort(self._app.conf.id, TopicPartition(tp.topic, tp.partition), at, end)

    def _check_committed(self, committed: Mapping[TP, int | None]) -> None:
        """Raise LostOffsets if there are states without the offset of any source: they are committed together."""
        for partition in self.partitions:
            offsets = [offset for tp, offset in committed.items() if tp.partition == partition]
            if all(offset is None for offset in offsets) and any(self._stores[partition].items()):
                raise LostOffsets(self._app.conf.id, TopicPartition(self._domain.changelog, partition))

    def count_deleted(self) -> None:
        """Add the records that were deleted before they were read to the statistics."""
        self._stats.deleted = self._app.consumer.deleted(self._domain.sources)

    def is_settled(self) -> bool:
        """Returns whether sources are being read: no rebalance, no recovery. Raises NotResumed."""
        recovering = bool(self._app.in_recovery)
        between = bool(self._app.rebalancing) and not recovering
        if self._between.seconds(between) > RESUMED_WITHIN_S:
            raise NotResumed(f"recovery is over, and after {RESUMED_WITHIN_S:.0f} s the sources are not read again")
        return not recovering and not between

    def missing(self, positions: Mapping[TP, int], queued: Set[TP]) -> dict[TP, int]:
        """Returns those positions of a lane behind which the consumer handed out records that are neither queued nor
        under way.
        """
        consumer = self._app.consumer
        coming = queued | consumer.under_way()
        return {tp: at for tp, at in positions.items() if tp not in coming and consumer.handed_out(tp) > at}

    async def seek(self, positions: dict[TP, int]) -> None:
        """Have the consumer read on from ``positions``."""
        await self._app.consumer.seek_wait(positions)

    def commit_later(self, ends: Mapping[TP, int]) -> None:
        """Note source offsets of work that is safe already (without transactions)."""
        self._uncommitted.update(ends)

    async def commit_now(self) -> None:
        """Commit the noted offsets."""
        offsets, self._uncommitted = self._uncommitted, {}
        if offsets:
            await self._app.consumer.commit_offsets(offsets)
