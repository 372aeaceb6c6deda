"""Files that take away too much are refused. A real builder's feed was broken in these ways in 98 of 744 versions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.feeds.guard import Accepted, Counts, Reason, doubts, remaining
from schemas.estate import Premise
from tests.unit.adapters.feeds.lots import Lot, cian, known_of, plan, remembered, some, yrl

LIMIT = 0.2


def reasons(counts: Counts) -> list[Reason]:
    return [doubt.reason for doubt in doubts(counts, LIMIT)]


def judged(before: bytes, now: bytes) -> tuple[Counts, list[Reason]]:
    with plan(now, known_of(remembered(before))) as made:
        return made.counts, reasons(made.counts)


BEFORE = cian(some(283))


@pytest.mark.parametrize(
    ("now", "found"),
    [
        (cian([]), [Reason.EMPTY, Reason.SHRUNK]),
        (b"<feed/>", [Reason.EMPTY, Reason.SHRUNK]),
        (cian(some(190)), [Reason.SHRUNK]),
        (cian([*some(211), *some(72)]), [Reason.DUPLICATES, Reason.SHRUNK]),
        (cian([Lot("", jk=lot.id) for lot in some(283)]), [Reason.MISSING_IDS, Reason.SHRUNK]),
        (cian([*some(282), Lot("")]), [Reason.MISSING_IDS]),
        (b"<!-- this feed is retired -->", [Reason.NO_ROOT, Reason.SHRUNK]),
        (cian(some(227)), []),
        (cian(some(226)), [Reason.SHRUNK]),
        (cian([*some(283), *some(2)]), []),
        (cian([*some(283), *some(3)]), [Reason.DUPLICATES]),
        (cian([Lot(lot.id, price="6000000") for lot in some(283)]), []),
        (cian(some(400)), []),
    ],
)
def test_each_way_in_which_a_real_feed_was_broken(now: bytes, found: list[Reason]) -> None:
    assert judged(BEFORE, now)[1] == found


def test_the_first_file_may_not_be_empty_either() -> None:
    with plan(yrl([])) as made:
        assert reasons(made.counts) == [Reason.EMPTY]


def test_what_is_gone_already_is_not_missed_again() -> None:
    entries = remembered(BEFORE, cian(some(230)))
    with plan(cian(some(190)), known_of(entries)) as made:
        assert (made.counts.known, made.counts.gone) == (230, 40)
        assert [d.row for d in made.differences(9) if isinstance(d.row, Premise)] == [
            Premise(f"lot-{n}", status="TAKEN", gone_since=9)  # type: ignore[arg-type]
            for n in range(190, 230)
        ]


def test_offers_that_are_refused_are_not_gone() -> None:
    counts, found = judged(BEFORE, cian(some(283)).replace(b">rub<", b">usd<"))
    assert (counts.refused, counts.gone, found) == (283, 0, [])
    assert len(counts.examples) == 20


def test_the_limit_is_set_per_feed() -> None:
    with plan(cian(some(190)), known_of(remembered(BEFORE))) as made:
        assert doubts(made.counts, 0.33) == []
        assert [doubt.reason for doubt in doubts(made.counts, 0)] == [Reason.SHRUNK]


def test_what_was_accepted_is_taken_and_nothing_worse() -> None:
    accepted = Accepted(frozenset({"shrunk"}), 93)
    for gone, left in ((93, []), (95, []), (96, [Reason.SHRUNK]), (283, [Reason.SHRUNK])):
        counts = Counts(offers=283 - gone or 1, known=283, gone=gone)
        assert [doubt.reason for doubt in remaining(doubts(counts, LIMIT), counts, accepted)] == left
    empty = Counts(known=283, gone=93)
    assert [doubt.reason for doubt in remaining(doubts(empty, LIMIT), empty, accepted)] == [Reason.EMPTY]


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300), st.floats(0, 1))
def test_a_file_like_the_one_before_is_never_refused(offers: int, known: int, gone: int, limit: float) -> None:
    counts = Counts(offers=offers, known=known, gone=min(gone, known))
    found = doubts(counts, limit)
    assert (Reason.EMPTY in [d.reason for d in found]) == (offers == 0)
    assert (Reason.SHRUNK in [d.reason for d in found]) == (counts.gone > known * limit)
    accepted = Accepted(frozenset(doubt.reason for doubt in found), counts.gone)
    assert remaining(found, counts, accepted) == []
