"""How far a partition has come: what a successor reads of it, and what it counts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.delivery.offset_tracker import NOTED, OffsetTracker, Tally


@given(st.lists(st.integers(1, 4), max_size=60), st.randoms(use_true_random=False), st.integers(0, 10**12))
def test_a_successor_reads_all_that_is_not_done_and_nothing_else(gaps: list[int], random: Any, start: int) -> None:
    tracker, offsets, at = OffsetTracker(start), [], start
    for gap in gaps:
        at += gap
        offsets.append(at)
        assert tracker.take(at)
    done = {offset for offset in offsets if random.random() < 0.6}
    told = {offset for offset in offsets if random.random() < 0.3} - done
    for offset in sorted(done, key=lambda _: random.random()):
        tracker.finish(offset)
    for offset in told:
        tracker.tell(offset)
    unfinished = [offset for offset in offsets if offset not in done]
    mark = tracker.mark()
    assert mark.offset == (unfinished[0] if unfinished else tracker.next)
    assert len(mark.metadata) < 4_096

    successor = OffsetTracker.restore(mark.offset, mark.metadata)
    read = [offset for offset in offsets if offset >= mark.offset]
    assert [offset for offset in read if successor.take(offset)] == unfinished
    assert [offset for offset in read if successor.told(offset)] == [o for o in offsets if o in told]


def test_metadata_fits_kafka_at_its_largest() -> None:
    tracker = OffsetTracker(0)
    for offset in range(NOTED + 500):
        tracker.take(offset)
        tracker.tell(offset)
        if offset:
            tracker.finish(offset)
    tracker.mark()
    for offset in range(NOTED):
        tracker.tell(offset)
    tracker.tally = Tally(*[10**12] * 5)
    assert len(tracker.mark().metadata) <= 4_096


@pytest.mark.parametrize(
    "metadata", ["", "x", "2:", "2:!!::", "1:AQ==:AQ==", "2:AQ==:::", "2:A:A:1", "2:::1,x", "2:::1,2,3,4,5,6", "::::"]
)
def test_strange_metadata_counts_as_none(metadata: str) -> None:
    tracker = OffsetTracker.restore(7, metadata)
    assert (tracker.low, tracker.tally) == (7, Tally())
    assert tracker.take(7)


def test_markers_are_passed_only_when_nothing_waits() -> None:
    tracker = OffsetTracker(5)
    tracker.take(5)
    assert not tracker.skip_to(9)
    tracker.finish(5)
    assert tracker.skip_to(9)
    assert not tracker.skip_to(9)
    assert tracker.mark().offset == 9


def test_offsets_must_ascend() -> None:
    tracker = OffsetTracker(5)
    tracker.take(6)
    with pytest.raises(ValueError, match="6"):
        tracker.take(6)


@pytest.mark.parametrize("data", [None, b"", b"x", b"1,2,3,4,5,6", b"\xff", b"1,,"])
def test_counts_of_another_version_are_none(data: bytes | None) -> None:
    assert Tally.load(data) == Tally()


def test_counts_are_kept_as_they_are() -> None:
    counts = Tally(1, 2, 3, 4, 5)
    assert Tally.load(counts.dump()) == counts


def test_counts_go_on_in_a_successor_and_nothing_is_told_of_none() -> None:
    tracker = OffsetTracker(5)
    assert tracker.mark().metadata == ""
    for offset in (5, 6, 7):
        tracker.take(offset)
        tracker.tell(offset)
    tracker.finish(6)
    tracker.tally.completed, tracker.tally.parked_keys = 41, 2
    successor = OffsetTracker.restore(5, tracker.mark().metadata)
    assert successor.tally == Tally(completed=41, parked_keys=2)
    assert (successor.stalled, successor.done_beyond) == (2, 1)
