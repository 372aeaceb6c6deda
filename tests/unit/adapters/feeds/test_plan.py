"""A file becomes its differences: parents first, nothing before its end, nothing from an unchanged one."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.feeds.comparison import Known
from adapters.feeds.errors import BrokenFeed
from adapters.feeds.parse.content import Content
from adapters.feeds.plan import Stopped, make_plan
from adapters.feeds.settings import FeedFile
from schemas.estate import Building, City, Premise, Project, Section
from streams.domains import DOMAINS
from tests.unit.adapters.feeds.lots import Lot, avito, cian, known_of, plan, remembered, some, yrl

LOT = st.builds(
    Lot,
    id=st.from_regex(r"[a-z0-9]{1,6}", fullmatch=True),
    price=st.integers(1, 10**9).map(str),
    rooms=st.sampled_from(["1", "2", "5"]),
    floor=st.integers(-1, 50),
    house=st.sampled_from(["7", "8"]),
    jk=st.sampled_from(["12", "13"]),
)
LOTS = st.lists(LOT, min_size=1, max_size=6, unique_by=lambda lot: lot.id)


def premises(lots: list[Lot]) -> set[tuple[str, str, int, int]]:
    return {(lot.id, f"{lot.price}.00", int(lot.rooms), lot.floor) for lot in lots}


@given(LOTS, st.sampled_from([yrl, cian, avito]))
@settings(max_examples=50)
def test_every_lot_of_every_format_becomes_its_premise(lots: list[Lot], write: object) -> None:
    assert callable(write)
    with plan(write(lots)) as made:
        rows = [d.row for d in made.differences(1)]
    found = {(r.ext_id, str(r.price), r.rooms, r.floor) for r in rows if isinstance(r, Premise)}
    assert found == premises(lots)
    known = {kind: {r[0] for r in rows if isinstance(r, kind)} for kind in (City, Project, Building, Section)}
    assert all(r.building_ext_id in known[Building] for r in rows if isinstance(r, Premise | Section))
    assert all(r.project_ext_id in known[Project] for r in rows if isinstance(r, Building))
    assert all(r.city_ext_id in known[City] for r in rows if isinstance(r, Project))


@given(LOTS, LOTS)
@settings(max_examples=50)
def test_a_file_that_came_before_changes_nothing_in_whatever_order(before: list[Lot], now: list[Lot]) -> None:
    entries = remembered(yrl(before), yrl(now))
    with plan(yrl(now[::-1]), known_of(entries)) as made:
        assert list(made.differences(9)) == []
        assert made.counts.same == len(now)


def test_parents_come_first() -> None:
    with plan(yrl([Lot("1"), Lot("2", house="8")])) as made:
        kinds = [type(d.row) for d in made.differences(1)]
    assert kinds == [City, Project, Building, Building, Section, Section, Premise, Premise]


def test_only_what_changed_comes() -> None:
    lots = some(200)
    changed = [lot._replace(price="5300000") if n % 100 == 0 else lot for n, lot in enumerate(lots)]
    with plan(yrl(changed), known_of(remembered(yrl(lots)))) as made:
        assert [d.row[0] for d in made.differences(1)] == ["lot-0", "lot-100"]
        assert (made.counts.changed, made.counts.same, made.counts.parents) == (2, 198, 0)


def test_a_value_that_an_offer_has_no_more_is_cleared() -> None:
    before, now = yrl(some(1)), yrl(some(1)).replace(b"<rooms>2</rooms>", b"")
    with plan(now, known_of(remembered(before))) as made:
        (difference,) = made.differences(1)
    assert isinstance(difference.row, Premise)
    assert difference.row.unset == ("rooms",)


def test_a_file_of_another_format_than_is_set_is_refused() -> None:
    for raw, format in ((yrl(some(1)), "cian"), (avito(some(1)), "yrl"), (yrl(some(1)), "json"), (b"[]", "yrl")):
        with pytest.raises(BrokenFeed):
            plan(raw, format=format)


def test_a_reading_ends_where_it_is_stopped() -> None:
    feed = FeedFile(name="x", url="x")  # type: ignore[arg-type]
    with pytest.raises(Stopped):
        make_plan(Content(io.BytesIO(yrl(some(3)))), feed, Known(), lambda: True)


def test_a_repeat_folds_to_nothing_and_a_return_clears_what_was_gone() -> None:
    evolve = DOMAINS["estate"].by_topic["estate.premise"].evolve
    first, empty = yrl(some(2)), yrl(some(1))
    entries: dict[str, bytes] = {}
    state: Any = None
    versions = []
    for raw in (first, empty, first):
        with plan(raw, known_of(entries)) as made:
            found = [d for d in made.differences(7) if d.row[0] == "lot-1"]
        for difference in found * 2:  # as after a crash
            state = evolve(state, difference.row, 1)
        versions.append((state.version, state.status, state.gone_since, state.price))
        entries |= {f"premise/{d.row[0]}": d.entry for d in found}
        entries |= {key: entry for key, entry in remembered(first).items() if key != "premise/lot-1"}
    price = versions[0][3]
    assert versions == [(1, "FREE", None, price), (2, "TAKEN", 7, price), (3, "FREE", None, price)]
