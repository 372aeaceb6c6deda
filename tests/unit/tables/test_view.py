"""The view's file: what is put in comes out, whatever the split, the crash, the names and the values."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InvalidInput
from tables import view as module
from tables.layout import State
from tables.view import Change, Page, View
from tables.view_find import Find
from tests.unit.tables.views import LAYOUTS, LEADS, PREMISES, PROJECTS, opened, put, state

LOG = ("estate-state-changelog", 0)


@pytest.fixture
def view(tmp_path: Path) -> Iterator[View]:
    with opened(tmp_path) as view:
        yield view


def walk(view: View, limit: int, order: str, aggregate: str = LEADS, **filters: Any) -> list[str]:
    """The ext_ids of all pages."""
    ids: list[str] = []
    page = Page([], None)
    while True:
        page = view.find(aggregate, Find(filters, limit=limit, order=order, after=page.after))
        assert 1 <= len(page.rows) <= limit or not ids
        ids += [row["ext_id"] for row in page.rows]
        if page.after is None:
            return ids


ids = st.text(min_size=1, max_size=3) | st.sampled_from(["a", "b", "c", "0", "10", "9"])
changes = st.lists(
    st.tuples(st.sampled_from([LEADS, PREMISES]), ids, st.none() | st.integers(1, 5)).map(
        lambda c: Change(c[0], c[1], None if c[2] is None else state(c[0], c[1], c[2]))
    ),
    max_size=12,
)


@given(changes, st.integers(0, 12), st.integers(0, 12))
def test_however_changes_are_split_the_last_states_stand(said: list[Change], one: int, two: int) -> None:
    cuts = sorted((one, two))
    with TemporaryDirectory() as folder, opened(folder) as view:
        for part in (said[: cuts[0]], said[cuts[0] : cuts[1]], said[cuts[1] :]):
            view.apply(part, {LOG: len(part)})
        last = {(c.aggregate, c.ext_id): c.state for c in said}
        for (aggregate, ext_id), expected in last.items():
            found = view.get(aggregate, ext_id)
            assert (found and found["version"]) == (expected and expected.version)
        alive = [aggregate for (aggregate, _), s in last.items() if s is not None]
        assert view.counts() == {name: alive.count(name) for name in LAYOUTS}


@given(
    st.dictionaries(ids, st.integers(1, 3), max_size=15),
    st.integers(1, 5),
    st.sampled_from(["ext_id", "-ext_id", "changed_at", "-changed_at"]),
)
def test_pages_walk_every_row_once_and_in_order(rows: dict[str, int], limit: int, order: str) -> None:
    with TemporaryDirectory() as folder, opened(folder) as view:
        put(view, *(state(LEADS, ext_id, at) for ext_id, at in rows.items()))
        expected = sorted(rows, key=lambda i: (rows[i], i.encode()) if "changed_at" in order else i.encode())
        assert walk(view, limit, order) == (expected[::-1] if order.startswith("-") else expected)


@pytest.mark.parametrize("order", ["ext_id", "changed_at"])
def test_a_row_that_comes_or_goes_between_pages_moves_no_other(view: View, order: str) -> None:
    put(view, *(state(LEADS, f"l{i}") for i in range(6)))
    first = view.find(LEADS, Find(limit=3, order=order))
    view.apply([Change(LEADS, "l2", None), Change(LEADS, "l0", None)], {})
    put(view, state(LEADS, "k"))
    rest = view.find(LEADS, Find(limit=9, order=order, after=first.after))
    assert [row["ext_id"] for row in rest.rows] == ["l3", "l4", "l5"]


def test_values_come_back_as_they_were(view: View) -> None:
    size = 40.1 + 0.2
    price, photos = Decimal("1234567890123456789.01"), ("a,b", 'c"')
    flat = state(PREMISES, "p1", update_id=2**63 - 1, price=price, size=size, is_sold=False, photos=photos)
    put(view, flat, aggregate=PREMISES)
    put(view, state(PROJECTS, "j1", end_date=-1, name="«Ёж»\0\n", price=Decimal("-0.10")), aggregate=PROJECTS)
    found = view.get(PREMISES, "p1")
    assert found is not None
    assert (found["update_id"], str(found["price"]), found["size"]) == (2**63 - 1, "1234567890123456789.01", size)
    assert found["is_sold"] is False
    assert found["photos"] == ["a,b", 'c"']
    assert "status" not in found
    project = view.get(PROJECTS, "j1")
    assert project is not None
    assert (project["end_date"], project["name"], str(project["price"])) == (-1, "«Ёж»\0\n", "-0.10")


def test_fields_of_a_newer_layout_are_left_out_and_those_of_an_older_one_are_missing(view: View) -> None:
    known = LAYOUTS[LEADS]
    newer = known.load(known.dump(state(LEADS, "l1"))[:-1] + b',"later"]')
    put(view, newer)
    assert view.get(LEADS, "l1") == {"ext_id": "l1", "version": 1, "changed_at": 1}


def test_filters(view: View) -> None:
    put(
        view, state(LEADS, "l1", state="ACTIVE", fee=Decimal("5.00")), state(LEADS, "l2", state="ACTIVE", lead_number=7)
    )
    put(view, state(LEADS, "l3", state="FAILED"))
    assert walk(view, 1, "ext_id", state="ACTIVE") == ["l1", "l2"]
    assert walk(view, 9, "ext_id", state="ACTIVE", lead_number=7) == ["l2"]
    assert walk(view, 9, "ext_id", fee="5.00") == ["l1"]
    assert walk(view, 9, "ext_id", state="NONE") == []


INJECTIONS = ['ext_id" = "" OR 1=1 --', "ext_id; DROP TABLE estate_lead", "rest", "rowid", "*", "", 'a"b']


@pytest.mark.parametrize("name", INJECTIONS)
def test_a_name_that_is_no_field_is_refused_and_harms_nothing(view: View, name: str) -> None:
    put(view, state(LEADS, "l1"))
    with pytest.raises(InvalidInput, match="a field to filter by"):
        view.find(LEADS, Find({name: "x"}))
    for order in (name, "-" + name, "--ext_id", "fee", "ext_id,1"):
        with pytest.raises(InvalidInput, match="order"):
            view.find(LEADS, Find(order=order))
    for ask in (lambda: view.find(name, Find()), lambda: view.get(name, "l1")):
        with pytest.raises(InvalidInput, match="aggregate"):
            ask()
    assert view.counts()[LEADS] == 1


@pytest.mark.parametrize("value", ["' OR 1=1 --", '" OR "1"="1', "l1'; DROP TABLE estate_lead; --", "%", "l_", "\0"])
def test_a_value_is_only_ever_a_value(view: View, value: str) -> None:
    put(view, state(LEADS, "l1", state="ACTIVE"), state(LEADS, value))
    assert walk(view, 9, "ext_id", state=value) == []
    assert walk(view, 9, "ext_id", ext_id=value) == [value]
    assert view.get(LEADS, value) is not None
    view.find(LEADS, Find(after=(value, value)))
    assert view.counts()[LEADS] == 2


values = {
    "name": st.none() | st.text(alphabet="аБё\0'", max_size=3), "price": st.none() | st.integers(0, 9).map(Decimal),
    "size": st.none() | st.floats(allow_nan=False), "is_sold": st.none() | st.booleans(),
    "photos": st.none() | st.sampled_from([(), ("a",), ("a", "b")]), "number": st.none() | st.integers(-1, 2),
}  # fmt: skip


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.fixed_dictionaries(values)), max_size=4), max_size=5
    )
)
def test_whatever_a_row_was_it_becomes_the_last_state(batches: list[list[tuple[str, dict[str, Any] | None]]]) -> None:
    """Only what differs is written."""
    last: dict[str, State | None] = {}
    with TemporaryDirectory() as folder, opened(folder) as view:
        for version, batch in enumerate(batches, start=1):
            said = [(i, None if fields is None else state(PREMISES, i, version, **fields)) for i, fields in batch]
            view.apply([Change(PREMISES, i, s) for i, s in said], {})
            last |= dict(said)
        for ext_id, expected in last.items():
            assert view.get(PREMISES, ext_id) == view.document(PREMISES, expected)
        assert view.counts()[PREMISES] == sum(s is not None for s in last.values())


def test_a_state_that_is_there_already_is_not_written(view: View) -> None:
    """As after a restart that reads a batch again."""
    rows = [
        state(PREMISES, "p1", price=Decimal("5.00"), photos=("a",), is_sold=True, name="Дом"),
        state(PREMISES, "p2"),
    ]
    put(view, *rows, aggregate=PREMISES)
    said: list[str] = []
    view._writer.set_trace_callback(said.append)
    view.apply([Change(PREMISES, row.ext_id, row) for row in rows], {})
    assert said
    assert [statement for statement in said if statement.startswith(("INSERT INTO estate", "UPDATE"))] == []
    put(view, rows[1]._replace(floor=3), aggregate=PREMISES)
    assert [statement for statement in said if statement.startswith("UPDATE")] == [
        'UPDATE estate_premise SET "floor" = 3 WHERE _row = 2'
    ]


def test_a_crash_between_rows_and_offsets_leaves_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as view:
        view.apply([Change(LEADS, "l1", state(LEADS, "l1", 1))], {LOG: 1})

        def crash() -> float:
            raise MemoryError

        with monkeypatch.context() as patch:  # the clock is read when the rows are in and the offsets are not
            patch.setattr(module.time, "time", crash)
            with pytest.raises(MemoryError):
                view.apply(
                    [Change(LEADS, "l1", state(LEADS, "l1", 2)), Change(LEADS, "l2", state(LEADS, "l2"))], {LOG: 3}
                )
        assert (view.offsets(), view.counts()[LEADS]) == ({LOG: 1}, 1)
    with opened(tmp_path) as view:
        found = view.get(LEADS, "l1")
        assert (view.offsets(), found and found["version"]) == ({LOG: 1}, 1)
        view.apply([Change(LEADS, "l1", state(LEADS, "l1", 2))], {LOG: 2})
        assert view.offsets() == {LOG: 2}


def test_a_row_that_can_not_be_written_keeps_the_whole_batch_out(view: View) -> None:
    bad = state(LEADS, "l2", lead_number=2**63)
    with pytest.raises(OverflowError):
        view.apply([Change(LEADS, "l1", state(LEADS, "l1")), Change(LEADS, "l2", bad)], {LOG: 2})
    assert (view.offsets(), view.counts()[LEADS]) == ({}, 0)


def test_analysts_ask_it_with_plain_sql(view: View, tmp_path: Path) -> None:
    put(view, state(LEADS, "l1", fee=Decimal("10.50"), state="ACTIVE"))
    with closing(sqlite3.connect(tmp_path / "view.sqlite")) as db:
        assert db.execute("SELECT state, fee FROM estate_lead WHERE ext_id = 'l1'").fetchall() == [("ACTIVE", "10.50")]


def test_money_sorts_and_adds_in_a_column_of_whole_cents(view: View, tmp_path: Path) -> None:
    """As text 9999999.00 is the largest, though 34000000.00 is there."""
    prices = ["9999999.00", "34000000.00", "5.00", "-0.50", "-12.00", "0.10", "0.20", None]
    for n, price in enumerate(prices):
        put(view, state(PREMISES, f"p{n}", price=price and Decimal(price)), aggregate=PREMISES)
    huge = Decimal("9223372036854775807.99"), Decimal("1E+18"), Decimal("9007199254740993.10")
    for n, price in enumerate(huge):
        put(view, state(PREMISES, f"x{n}", price=price), aggregate=PREMISES)
    with closing(sqlite3.connect(tmp_path / "view.sqlite")) as db:  # as an analyst does
        ask = "select price from estate_premise where price is not null and ext_id like 'p%' order by price_cents"
        assert [row[0] for row in db.execute(ask)] == sorted(filter(None, prices), key=Decimal)
        largest = "select max(price_cents), sum(price_cents) from estate_premise where ext_id like 'p%'"
        assert db.execute(largest).fetchone() == (3_400_000_000, 4_400_000_000 - 100 + 500 - 50 - 1_200 + 30)
        exact = "select price_cents, price from estate_premise where ext_id = ?"
        assert db.execute(exact, ("x2",)).fetchone() == (900_719_925_474_099_310, "9007199254740993.10")
        assert db.execute(exact, ("x0",)).fetchone() == (2**63 - 1, "9223372036854775807.99")
        assert db.execute(exact, ("x1",)).fetchone() == (2**63 - 1, "1000000000000000000.00")
        plan = str(db.execute("explain query plan select max(price_cents) from estate_premise").fetchall())
    assert "USING INDEX estate_premise_price" in plan
    assert "price_cents" not in (view.get(PREMISES, "p0") or {})


def test_an_upsert_keeps_the_row(tmp_path: Path) -> None:
    """A replaced row was another one: deleted and inserted, so that nothing could refer to it."""
    with opened(tmp_path) as view, closing(sqlite3.connect(tmp_path / "view.sqlite")) as db:
        put(view, state(PREMISES, "p1", name="a", floor=1), state(PREMISES, "p2"), aggregate=PREMISES)
        before = db.execute("SELECT _row FROM estate_premise ORDER BY ext_id").fetchall()
        put(view, state(PREMISES, "p1", 2, price=Decimal("1.00")), aggregate=PREMISES)
        assert db.execute("SELECT _row FROM estate_premise ORDER BY ext_id").fetchall() == before
        assert view.get(PREMISES, "p1") == {"ext_id": "p1", "version": 2, "changed_at": 2, "price": Decimal("1.00")}


def test_what_is_read_is_of_the_connection_that_can_not_write(view: View) -> None:
    for statement in (
        "DELETE FROM estate_lead",
        "CREATE TABLE x (y)",
        "ATTACH ':memory:' AS other",
        "PRAGMA query_only=0",
    ):
        with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
            view._reader().execute(statement)
