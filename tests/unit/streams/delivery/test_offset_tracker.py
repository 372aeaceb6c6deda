"""How far a partition has come: what a successor reads of it, and what it counts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.delivery.offset_tracker import NOTED, Progress, Tally


@given(st.lists(st.integers(1, 4), max_size=60), st.randoms(use_true_random=False), st.integers(0, 10**12))
def test_a_successor_reads_all_that_is_not_done_and_nothing_else(gaps: list[int], random: Any, start: int) -> None:
    progress, offsets, at = Progress(start), [], start
    for gap in gaps:
        at += gap
        offsets.append(at)
        assert progress.take(at)
    done = {offset for offset in offsets if random.random() < 0.6}
    told = {offset for offset in offsets if random.random() < 0.3} - done
    for offset in sorted(done, key=lambda _: random.random()):
        progress.finish(offset)
    for offset in told:
        progress.tell(offset)
    unfinished = [offset for offset in offsets if offset not in done]
    mark = progress.mark()
    assert mark.offset == (unfinished[0] if unfinished else progress.next)
    assert len(mark.metadata) < 4_096

    successor = Progress.restore(mark.offset, mark.metadata)
    read = [offset for offset in offsets if offset >= mark.offset]
    assert [offset for offset in read if successor.take(offset)] == unfinished
    assert [offset for offset in read if successor.told(offset)] == [o for o in offsets if o in told]


def test_metadata_fits_kafka_at_its_largest() -> None:
    progress = Progress(0)
    for offset in range(NOTED + 500):
        progress.take(offset)
        progress.tell(offset)
        if offset:
            progress.finish(offset)
    progress.mark()
    for offset in range(NOTED):
        progress.tell(offset)
    progress.tally = Tally(*[10**12] * 5)
    assert len(progress.mark().metadata) <= 4_096


@pytest.mark.parametrize(
    "metadata", ["", "x", "2:", "2:!!::", "1:AQ==:AQ==", "2:AQ==:::", "2:A:A:1", "2:::1,x", "2:::1,2,3,4,5,6", "::::"]
)
def test_strange_metadata_counts_as_none(metadata: str) -> None:
    progress = Progress.restore(7, metadata)
    assert (progress.low, progress.tally) == (7, Tally())
    assert progress.take(7)


def test_markers_are_passed_only_when_nothing_waits() -> None:
    progress = Progress(5)
    progress.take(5)
    assert not progress.skip_to(9)
    progress.finish(5)
    assert progress.skip_to(9)
    assert not progress.skip_to(9)
    assert progress.mark().offset == 9


def test_offsets_must_ascend() -> None:
    progress = Progress(5)
    progress.take(6)
    with pytest.raises(ValueError, match="6"):
        progress.take(6)


@pytest.mark.parametrize("data", [None, b"", b"x", b"1,2,3,4,5,6", b"\xff", b"1,,"])
def test_counts_of_another_version_are_none(data: bytes | None) -> None:
    assert Tally.load(data) == Tally()


def test_counts_are_kept_as_they_are() -> None:
    counts = Tally(1, 2, 3, 4, 5)
    assert Tally.load(counts.dump()) == counts


def test_counts_go_on_in_a_successor_and_nothing_is_told_of_none() -> None:
    progress = Progress(5)
    assert progress.mark().metadata == ""
    for offset in (5, 6, 7):
        progress.take(offset)
        progress.tell(offset)
    progress.finish(6)
    progress.tally.completed, progress.tally.parked_keys = 41, 2
    successor = Progress.restore(5, progress.mark().metadata)
    assert successor.tally == Tally(completed=41, parked_keys=2)
    assert (successor.stalled, successor.done_beyond) == (2, 1)
