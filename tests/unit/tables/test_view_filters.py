"""Any filters, order and pages find what plain Python finds, and so do pages that are read while rows change."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InvalidInput
from streams.domains.estate import ESTATE
from tables import view_find
from tables.layout import State
from tables.listing import Listing
from tables.view import Change, View
from tables.view_find import Find
from tests.unit.tables.views import LAYOUTS, PREMISES, opened, put

AGGREGATES = {a.topic: a for a in ESTATE.aggregates}
WHOLE = {topic: aggregate.layout for topic, aggregate in AGGREGATES.items()}
OURS = {topic: aggregate.listing for topic, aggregate in AGGREGATES.items()}
COVERED = OURS[PREMISES]
HOUSES = {"b1": "j1", "b2": "j2", "b3": "j3", "b4": None}
CITIES = {"j1": "c1", "j2": "c1", "j3": "c2"}
WORDS = ("a", 'b"a', ", ", "a\\", "ё")
CENTS = st.integers(-3, 3).map(lambda n: Decimal(n).scaleb(-2))
PREMISE = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["FREE", "TAKEN", None]),
        "type": st.sampled_from(["APARTMENT", "PARKING", None]),
        "rooms": st.none() | st.integers(0, 2),
        "floor": st.none() | st.integers(0, 2),
        "year": st.none() | st.integers(2024, 2026),
        "size": st.none() | st.sampled_from([0.0, 1.5, 2.5]),
        "price": st.none() | CENTS,
        "is_sold": st.none() | st.booleans(),
        "building_ext_id": st.sampled_from([*HOUSES, "b5", None]),
        "features": st.none() | st.lists(st.sampled_from(WORDS), max_size=3).map(tuple),
        "changed_at": st.integers(0, 3),
    }
)
ROWS = st.lists(PREMISE, max_size=12).map(lambda rows: {f"p{n}": row for n, row in enumerate(rows)})
BOUNDS = {
    "price": CENTS.map(lambda amount: f"{amount:.2f}"),
    "size": st.sampled_from([0.0, 1.5, 2.5]),
    "floor": st.integers(0, 2),
    "year": st.integers(2024, 2026),
    "changed_at": st.integers(0, 3),
}
FILTERS = {
    "filters": {
        "is_sold": st.sampled_from([0, 1]),
        "building_ext_id": st.sampled_from(list(HOUSES)),
        "project_ext_id": st.sampled_from(["j1", "j2", "j3", "x"]),
        "city_ext_id": st.sampled_from(["c1", "c2", "x"]),
    },
    "ranges": {name: st.tuples(st.none() | bound, st.none() | bound) for name, bound in BOUNDS.items()},
    "several": {
        "status": st.lists(st.sampled_from(["FREE", "TAKEN"]), min_size=1, unique=True),
        "rooms": st.lists(st.integers(0, 2), min_size=1, unique=True),
    },
    "members": {"features": st.lists(st.sampled_from(WORDS), min_size=1, max_size=2)},
}


@st.composite
def finds(draw: Any) -> Find:
    """A search by few filters: by many, no second page is found."""
    every = [(kind, name) for kind, fields in FILTERS.items() for name in fields]
    wanted: dict[str, dict[str, Any]] = {kind: {} for kind in FILTERS}
    for kind, name in draw(st.lists(st.sampled_from(every), max_size=2, unique=True)):
        wanted[kind][name] = draw(FILTERS[kind][name])
    order = draw(st.sampled_from([way + name for name in COVERED.sorted_by() for way in ("", "-")]))
    page = {
        "order": order,
        "skip": draw(st.integers(0, 2)),
        "limit": draw(st.integers(1, 3)),
        "count": draw(st.booleans()),
    }
    return Find(**wanted, **page)


FINDS = finds()


@pytest.fixture(scope="module")
def view() -> Iterator[View]:
    with TemporaryDirectory() as folder, opened(folder, WHOLE, OURS) as view:
        for aggregate, parent, of in (
            ("estate.building", "project_ext_id", HOUSES),
            ("estate.project", "city_ext_id", CITIES),
        ):
            rows = [WHOLE[aggregate].blank(key)._replace(version=1, **{parent: value}) for key, value in of.items()]
            put(view, *rows, aggregate=aggregate)
        yield view


def premise(ext_id: str, fields: dict[str, Any]) -> State:
    return WHOLE[PREMISES].blank(ext_id)._replace(version=1, **fields)


def fill(view: View, rows: dict[str, dict[str, Any]]) -> None:
    """Make ``rows`` the only premises of the view."""
    gone = {row["ext_id"] for row in view.find(PREMISES, Find(limit=500)).rows} - set(rows)
    changes = [Change(PREMISES, key, premise(key, fields)) for key, fields in rows.items()]
    view.apply([*changes, *(Change(PREMISES, key, None) for key in gone)], {})


def fits(wanted: Find, row: dict[str, Any]) -> bool:
    project = HOUSES.get(row["building_ext_id"])
    known = {**row, "project_ext_id": project, "city_ext_id": CITIES.get(project or "")}
    if any(known[name] != value for name, value in wanted.filters.items()):
        return False
    if any(row[name] not in values for name, values in wanted.several.items()):
        return False
    if any(value not in (row[name] or ()) for name, values in wanted.members.items() for value in values):
        return False
    for name, (low, high) in wanted.ranges.items():
        if row[name] is None and (low, high) != (None, None):
            return False
        if low is not None and row[name] < type(row[name])(low):
            return False
        if high is not None and row[name] > type(row[name])(high):
            return False
    return True


def expected(wanted: Find, rows: dict[str, dict[str, Any]]) -> list[str]:
    """The ext_ids of all pages together, by plain Python."""
    name = wanted.order.removeprefix("-")
    fitting = {key: row | {"ext_id": key} for key, row in rows.items() if fits(wanted, row)}
    pairs = [(row[name], key) for key, row in fitting.items() if row[name] is not None]
    return [key for _, key in sorted(pairs, reverse=wanted.order.startswith("-"))]


@given(rows=ROWS, wanted=FINDS, windows=st.sampled_from([(), (3, 5), (2_000,)]))
def test_any_filters_order_and_page_find_what_python_finds(
    view: View, rows: dict[str, dict[str, Any]], wanted: Find, windows: tuple[int, ...]
) -> None:
    fill(view, rows)
    whole = expected(wanted, rows)
    with patch.object(view_find, "WINDOWS", windows):
        page = view.find(PREMISES, wanted)
        assert [row["ext_id"] for row in page.rows] == whole[wanted.skip : wanted.skip + wanted.limit]
        assert page.total == (len(whole) if wanted.count else None)
        found = [row["ext_id"] for row in page.rows]
        while page.after is not None and len(found) <= len(whole):
            page = view.find(PREMISES, Find(**vars(wanted) | {"after": page.after, "skip": 0}))
            found += [row["ext_id"] for row in page.rows]
        assert found == whole[wanted.skip :]


@given(
    rows=ROWS,
    wanted=FINDS,
    changes=st.lists(st.tuples(st.sampled_from([f"p{n}" for n in range(12)]), st.none() | PREMISE), max_size=8),
    windows=st.sampled_from([(), (2_000,)]),
)
def test_pages_have_all_rows_that_stay_and_none_twice_while_others_change(
    view: View, rows: dict[str, dict[str, Any]], wanted: Find, changes: list[tuple[str, Any]], windows: tuple[int, ...]
) -> None:
    fill(view, rows)
    wanted = Find(**vars(wanted) | {"skip": 0})
    moved = {key for key, _ in changes}
    staying = [key for key in expected(wanted, rows) if key not in moved]
    found: list[str] = []
    with patch.object(view_find, "WINDOWS", windows):
        page = view.find(PREMISES, wanted)
        found += [row["ext_id"] for row in page.rows]
        for key, fields in changes:
            view.apply([Change(PREMISES, key, fields and premise(key, fields))], {})
            if page.after is not None:
                page = view.find(PREMISES, Find(**vars(wanted) | {"after": page.after}))
                found += [row["ext_id"] for row in page.rows]
        while page.after is not None and len(found) <= len(rows) + len(changes):
            page = view.find(PREMISES, Find(**vars(wanted) | {"after": page.after}))
            found += [row["ext_id"] for row in page.rows]
    assert [key for key in found if key not in moved] == staying


@pytest.mark.parametrize("windows", [(), (3,), (2_000,)])
@pytest.mark.parametrize("order", [way + name for name in COVERED.sorted_by() for way in ("", "-")])
def test_pages_of_a_filter_walk_all_rows_by_each_way(view: View, order: str, windows: tuple[int, ...]) -> None:
    blank = dict.fromkeys(
        ("status", "type", "floor", "year", "size", "price", "is_sold", "building_ext_id", "features")
    )
    rows = {
        f"p{n}": blank
        | {"rooms": n % 2, "price": Decimal(n % 5), "size": n % 3 + 0.5, "floor": n % 4}
        | {"changed_at": n % 7}
        for n in range(20)
    }
    fill(view, rows)
    wanted = Find(several={"rooms": [1]}, order=order, limit=2)
    with patch.object(view_find, "WINDOWS", windows):
        page = view.find(PREMISES, wanted)
        found = [row["ext_id"] for row in page.rows]
        while page.after is not None and len(found) <= 10:
            page = view.find(PREMISES, Find(**vars(wanted) | {"after": page.after}))
            found += [row["ext_id"] for row in page.rows]
    assert found == expected(wanted, rows)


def test_a_value_is_not_found_as_a_part_of_others(view: View) -> None:
    blank = dict.fromkeys(("status", "type", "rooms", "floor", "year", "size", "price", "is_sold", "building_ext_id"))
    fill(view, {"p1": blank | {"features": ('b"a', "x, ", "y"), "changed_at": 1}})
    for value, found in (("a", []), (", ", []), ('b"a', ["p1"]), ("x, ", ["p1"])):
        page = view.find(PREMISES, Find(members={"features": [value]}))
        assert [row["ext_id"] for row in page.rows] == found, value


@pytest.mark.parametrize(
    ("wanted", "looks", "scans"),
    [
        (Find(several={"rooms": [1]}, order="price"), "_price", "SCAN"),
        (Find(members={"features": ["x"]}, order="-changed_at"), "_changed_at", "SCAN"),
        (Find({"city_ext_id": "c1"}, several={"type": ["PARKING"]}), "", "SEARCH"),
        (Find({"building_ext_id": "b1"}, {"price": ("1.00", None)}, order="size"), "", "SEARCH"),
    ],
)
def test_a_filter_of_covered_fields_reads_no_other_row(view: View, wanted: Find, looks: str, scans: str) -> None:
    row = {"rooms": 1, "features": ("x",), "type": "PARKING", "building_ext_id": "b1", "size": 1.5, "price": Decimal(9)}
    fill(view, {"p1": row | {"changed_at": 1}})
    with patch.object(view_find, "WINDOWS", (100,)):
        read = statements(view, wanted)
    said = [plan for plan in read if "estate_premise" in plan]
    assert [looks in plan for plan in said[:-2]] == ([True] if looks else [])
    assert scans in said[-2]
    assert "estate_premise_covering" in said[-2]
    assert "INTEGER PRIMARY KEY" in said[-1]


def statements(view: View, wanted: Find) -> list[str]:
    """The plans of the statements by which a page is read, in their order."""
    plans = []
    db = view._connect()

    class Explaining:
        def execute(self, query: str, values: Any) -> Any:
            plans.append(str([row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query}", values)]))
            return db.execute(query, values)

    wanted.read(cast(Any, Explaining()), view._tables[PREMISES])
    return plans


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Find({"colour": 1}), "colour: expected a field to filter by: ext_id, "),
        (Find(several={"name": ["x"]}), "name: expected a field to filter by several values: type, status, rooms"),
        (Find(members={"photos": ["x"]}), "photos: expected a list to filter by its values: features"),
    ],
)
def test_a_search_that_is_not_declared_is_refused(view: View, wanted: Find, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        view.find(PREMISES, wanted)


def test_a_path_to_an_aggregate_that_the_view_lacks_is_refused(tmp_path: Path) -> None:
    path = {"project_ext_id": (("building_ext_id", "estate.building"),)}
    with pytest.raises(TypeError, match=r"goes through estate\.building"):
        View(tmp_path / "view.sqlite", LAYOUTS, {PREMISES: Listing(through=path)})
