"""The lane's queue: how much it holds, how much goes in one transaction."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from streams.kafka.offsets import CutShort
from streams.lane.lane import MOST_BYTES, Lane
from streams.lane.processor import Folded
from streams.lane.settings import LaneSettings
from streams.lane.stats import Stats
from tests.support.trial import TRIAL

PLACE, OTHER = TP("trial.item", 0), TP("trial.account", 0)


class Owner:
    """Stands for the sources and the processor."""

    def __init__(self) -> None:
        self.stats = Stats()
        self.ends = {PLACE: 50}
        self.settled, self.given, self.sought = True, 20, list[dict[TP, int]]()
        self.coming = set[TP]()

    def generation(self) -> int:
        return 1

    async def check_ends(self, positions: dict[TP, int]) -> None:
        for tp, at in positions.items():
            self.check_end(tp, at, self.ends[tp])

    def check_end(self, tp: TP, at: int, end: int) -> None:
        if at > end:
            raise CutShort("trial", tp, at, end)

    def is_settled(self) -> bool:
        return self.settled

    def missing(self, positions: dict[TP, int], queued: set[TP]) -> dict[TP, int]:
        return {tp: at for tp, at in positions.items() if tp not in queued | self.coming and self.given > at}

    async def seek(self, positions: dict[TP, int]) -> None:
        self.sought.append(positions)

    async def positions(self, partition: int) -> dict[TP, int]:
        return {PLACE: 20}

    async def fold(self, *args: Any) -> Folded:
        return Folded({b"trial.item\0a": b"[]"}, {})


class Written:
    """A writer: the changelog ends at ``end``; and a store."""

    def __init__(self) -> None:
        self.end = 100
        self.offset: int | None = None
        self.get = None

    async def commit(self, *args: Any) -> int:
        self.end += 2
        return self.end

    def write(self, states: Any, offset: int, as_of: float | None = None) -> None:
        self.offset = offset


def new_lane() -> Lane:
    """One that has not begun."""
    owner: Any = Owner()
    store: Any = Written()
    lane = Lane(
        0, store, store, owner, owner, LaneSettings(max_records=100), TRIAL.changelog,
        on_progress=lambda records: None, on_failure=lambda partition, error: None,
    )  # fmt: skip
    lane._task.cancel()
    return lane


def message(records: int, weight: int) -> Any:
    return SimpleNamespace(tp=PLACE, value=[None] * records, weight=weight)


def records(base: int, end: int) -> Any:
    found = [SimpleNamespace(offset=offset) for offset in range(base, end)]
    return SimpleNamespace(tp=PLACE, value=found, base=base, offset=end - 1, generation_id=1, weight=0)


async def test_a_transaction_takes_so_many_records_or_bytes() -> None:
    lane = new_lane()
    for batch in (message(60, 10), message(40, 10), message(60, 10), message(1, MOST_BYTES), message(1, 1)):
        await lane.put(batch)
    assert [[len(m.value) for m in lane._take()] for _ in range(4)] == [[60, 40], [60], [1], [1]]


async def test_a_lane_that_is_full_lets_its_reader_wait() -> None:
    lane = new_lane()
    for _ in range(2):
        await lane.put(message(1, MOST_BYTES))
    putting = asyncio.create_task(lane.put(message(1, 1)))
    await asyncio.sleep(0)
    assert not putting.done()
    lane._take()
    await putting


async def test_records_below_the_position_were_read_before() -> None:
    lane = new_lane()
    await lane._process([records(10, 15), records(15, 25)])
    assert lane._next == {PLACE: 25}
    assert lane._processor.stats.overlaps == 2


async def test_a_topic_that_is_made_anew_meanwhile_is_not_passed_over() -> None:
    lane = new_lane()
    await lane._process([records(20, 40)])
    lane._sources.ends[PLACE] = 5  # type: ignore[attr-defined]
    with pytest.raises(CutShort):
        await lane._process([records(0, 5)])


async def test_a_changelog_that_is_made_anew_meanwhile_is_not_written_on() -> None:
    """The states from before stood in no changelog any more, until this worker's copy was gone, too."""
    lane = new_lane()
    await lane._process([records(20, 40)])
    lane.writer.end = 0  # type: ignore[attr-defined]
    with pytest.raises(CutShort, match="trial-state-changelog 0"):
        await lane._process([records(40, 41)])
    assert lane._store.offset == 102


async def test_what_was_handed_out_and_never_came_is_read_again() -> None:
    """Of a partition in which nothing follows, too; also by a lane that has heard nothing yet."""
    lane = new_lane()
    owner: Any = lane._sources
    for _ in range(2):
        await lane._look()
    owner.given = 21
    await lane._look()
    assert owner.sought == []
    await lane._look()
    assert owner.sought == [{PLACE: 20}]
    assert owner.stats.gaps == 1


async def test_what_may_be_on_its_way_is_waited_for() -> None:
    lane = new_lane()
    owner: Any = lane._sources
    await lane._process([records(20, 21)])
    owner.given = 30
    for settled in (False, True, False, True):  # in between it may have come
        owner.settled = settled
        await lane._look()
    owner.coming = {PLACE}
    for _ in range(3):
        await lane._look()
    owner.coming = set()
    await lane.put(records(21, 30))
    for _ in range(3):
        await lane._look()
    await lane._work()
    for _ in range(3):
        await lane._look()
    assert owner.sought == []
    assert lane._next == {PLACE: 30}


async def test_a_batch_that_waits_for_room_is_not_missing() -> None:
    lane = new_lane()
    owner: Any = lane._sources
    lane._next, owner.given = {PLACE: 20, OTHER: 7}, 40
    await lane.put(SimpleNamespace(tp=OTHER, value=[None] * 500, weight=0))
    putting = asyncio.create_task(lane.put(records(20, 40)))
    for _ in range(3):
        await asyncio.sleep(0)
        await lane._look()
    assert not putting.done()
    lane._take()
    await putting
    await lane._look()
    assert owner.sought == []
