"""The mark below which nothing is missing."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from adapters.brusnika import position
from adapters.brusnika.position import LATEST_CHANGES, Gap, Watermark


def test_the_mark_waits_for_what_is_late() -> None:
    mark = Watermark(10)
    assert mark.take(12) == (True, None)
    assert (mark.value, mark.waiting) == (10, 1)
    assert mark.take(11) == (True, None)
    assert (mark.value, mark.waiting) == (12, 0)


def test_what_came_before_is_not_new() -> None:
    mark = Watermark(10)
    mark.take(12)
    assert [mark.take(n)[0] for n in (12, 10, 3)] == [False, False, False]
    assert mark.value == 10


def test_a_gap_is_given_up_after_patience() -> None:
    mark = Watermark(0)
    results = [mark.take(n) for n in range(3, LATEST_CHANGES + 4)]
    assert [gap for _, gap in results if gap] == [Gap(1, 2)]
    assert (mark.value, mark.waiting) == (LATEST_CHANGES + 3, 0)


def test_one_absurd_number_does_not_carry_the_mark_away() -> None:
    mark = Watermark(0)
    mark.take(2**63 - 1)
    for n in range(1, 5_000):
        mark.take(n)
    assert mark.value == 4_999


def test_a_feed_that_has_just_begun_may_bring_its_first_changes_late() -> None:
    mark = Watermark()
    mark.take(3)
    assert mark.value == 0
    far = Watermark()
    far.take(81_234_567)
    assert far.value == 81_234_567


def test_skip_passes_over_one_change() -> None:
    mark = Watermark(4)
    mark.take(6)
    assert mark.skip() == 6
    assert Watermark().skip() == 0


def test_a_position_that_cannot_be_read_counts_as_absent() -> None:
    for value in (None, b"", b"{}", b"[]", b'{"update_id":"x"}', b"\xff", b'{"update_id":null}'):
        assert position._read(value, 5) == 5
    assert position._read(b'{"update_id":7}', None) == 7


@given(st.sets(st.integers(1, 400), max_size=40), st.integers(1, 30), st.integers().map(random.Random))
def test_any_order_with_duplicates_ends_at_the_same_mark(missing: set[int], late: int, pick: random.Random) -> None:
    numbers = [n for n in range(1, 401) if n not in missing]
    shuffled = sorted(numbers + pick.choices(numbers, k=30), key=lambda n: n + pick.random() * late)
    mark, new = Watermark(0), 0
    for n in shuffled:
        new += mark.take(n)[0]
        assert mark.value is not None
        assert all(m > mark.value for m in missing)
    assert new == len(numbers)
    gaps = []
    while gap := mark.give_up():
        gaps.append(gap)
    last = max(numbers)
    assert {n for gap in gaps for n in range(gap.first, gap.last + 1)} == {n for n in missing if n < last}
    assert mark.value == last
