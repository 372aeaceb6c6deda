"""Which number the feed is asked after: odd ones never move it over what is still to come."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.brusnika.numbers import MOST_RUNS, REACH, Marks, Numbers, Verdict
from adapters.brusnika.position import LATEST_CHANGES, Position

MILLISECONDS = 1_764_000_000_000


def city(*numbers: int) -> list[tuple[str, int]]:
    return [("city", n) for n in numbers]


def section(*numbers: int) -> list[tuple[str, int]]:
    return [("section", n) for n in numbers]


def marks(changes: list[tuple[str, int]], left: int | None = None) -> Marks:
    made = Marks(left)
    for word, number in changes:
        made.take(word, number)
    return made


@pytest.mark.parametrize("odd", [MILLISECONDS, 9_000_000_000, 20_261_125, 2_026, 2**63 - 1])
@pytest.mark.parametrize("place", [0, 1, 12, 25])
def test_one_odd_number_moves_nothing(odd: int, place: int) -> None:
    numbers = list(range(1, 26))
    numbers.insert(place, odd)
    assert marks(city(*numbers)).position == 25
    assert marks(city(*(n + 5_000 for n in numbers if n != odd), odd + 10_000), 5_000).position == 5_025


@pytest.mark.parametrize("place", [0, 1, 12, 25])
def test_nor_does_that_of_a_refused_frame(place: int) -> None:
    made = Marks()
    for n in range(1, 26):
        if n == place + 1:
            made.fill("city", MILLISECONDS)
            made.fill(None, 9_000)
        made.take("city", n)
    made.fill("spaceship", MILLISECONDS)
    assert made.position == 25
    assert made.fill("spaceship", 26).verdict is Verdict.NEW
    assert made.position == 26


def test_a_number_alone_is_no_position() -> None:
    assert marks(city(MILLISECONDS)).position is None
    assert marks(city(81_234_567, 81_234_568)).position == 81_234_568
    refused = Marks()
    refused.fill("city", 5)
    assert refused.position is None


def test_numbers_that_are_none_count_for_nothing() -> None:
    assert marks(city(0, -5, 1, 2)).position == 2


def test_a_counter_far_above_is_followed_beside() -> None:
    far = section(*range(9_000_000_000, 9_000_005_000))
    made = marks(city(*range(1, 6)) + far + city(6, 7))
    assert (made.position, made.far, made.apart) == (7, 1, {})
    assert made.points() == [7, 9_000_004_999]


def test_a_counter_that_reaches_the_odd_number_is_one_with_it() -> None:
    made = marks(city(*range(1, 3_000), 5_000, *range(3_000, 4_990)))
    assert (made.position, made.far) == (4_989, 0)  # the odd one is near now, and waited for as any late one
    for n in range(4_990, 5_050):
        made.take("city", n)
    assert (made.position, made.far) == (5_049, 0)
    long = marks(city(*range(8_000, 8_000 + 2 * LATEST_CHANGES), *range(1, 7_500)))
    assert (long.position, long.far) == (8_000 + 2 * LATEST_CHANGES - 1, 0)


def test_types_that_use_the_same_numbers_are_followed_apart() -> None:
    made = marks(city(*range(1, 51)) + section(1, 2, 3))
    assert (made.position, made.apart) == (3, {"city": 50, "section": 3})
    again = marks(section(4) + city(51), made.position)
    assert (again.position, again.apart) == (4, {"city": 51, "section": 4})
    assert marks([("lead", 7)], again.position).position == 0


def test_what_comes_twice_or_late_is_no_counter_of_its_own() -> None:
    made = marks(city(1, 2, 2, 1) + section(3, 3) + city(5, 4) + section(6))
    assert (made.position, made.apart) == (6, {})
    late = marks(city(*range(2, LATEST_CHANGES + 3)) + section(1))
    assert late.apart == {}
    mended = Marks()
    for word, number in city(1, 2):
        mended.take(word, number)
    mended.fill("section", 3)
    mended.fill(None, 4)
    mended.take("section", 3)
    mended.take("city", 4)
    assert (mended.position, mended.apart) == (4, {})


def test_what_was_asked_for_and_what_lies_below_are_told_apart() -> None:
    made = Marks(1_000)
    made.asked = 1_000
    assert [made.take("city", n).verdict for n in (1, 1_000)] == [Verdict.BELOW] * 2
    assert made.take("city", 1_001).verdict is Verdict.NEW
    assert made.position == 1_001


def test_runs_are_bounded() -> None:
    numbers = Numbers()
    for n in range(1, 10):
        numbers.take(n)
    for n in range(5 * MOST_RUNS):
        numbers.take(10**6 + n * 10 * REACH)
    assert numbers.far < MOST_RUNS
    assert numbers.value == 9


def test_holes_are_asked_for_one_after_the_other() -> None:
    made = marks(city(1, 2, 5, 6, 9))
    assert made.points() == [2, 6, 9]


def test_a_position_of_before_is_read_and_kept() -> None:
    assert Marks(41).position == 41
    assert Marks(Position(41)).position == 41
    assert Marks(Position(3, {"city": 50, "section": 3})).apart == {"city": 50, "section": 3}
    assert Marks(0).position is None


@given(
    st.lists(st.integers(10**4, 2**63 - 1), max_size=5, unique=True),
    st.integers(1, 200),
    st.integers(1, 20),
    st.integers().map(random.Random),
)
def test_whatever_odd_numbers_come_nothing_below_is_left_out(
    odd: list[int], count: int, late: int, pick: random.Random
) -> None:
    shuffled = sorted(range(1, count + 1), key=lambda n: n + pick.random() * late)
    for n in odd:
        shuffled.insert(pick.randint(0, len(shuffled)), n)
    made = Marks()
    came: set[int] = set()
    for n in shuffled:
        made.take("city", n)
        came.add(n)
        assert all(m in came for m in range(1, min(made.position or 0, count) + 1))
    assert made.position == count
