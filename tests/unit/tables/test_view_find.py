"""What is found in the view: ranges, orders, pages, counts, and text of any letter case."""

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

from schemas.errors import InvalidInput, QueryTooLarge
from tables import view as module
from tables.view import Change, View
from tables.view_find import Find
from tables.words import MOST_CHARACTERS, folded
from tests.unit.tables.views import LEADS, PREMISES, PROJECTS, ids_of, opened, put, state


@pytest.fixture
def view(tmp_path: Path) -> Iterator[View]:
    with opened(tmp_path) as view:
        yield view


def premises(view: View, **fields: list[Any]) -> None:
    """One premise for each value, ``p0`` and on."""
    rows = zip(*fields.values(), strict=True)
    states = [state(PREMISES, f"p{n}", **dict(zip(fields, row, strict=True))) for n, row in enumerate(rows)]
    put(view, *states, aggregate=PREMISES)


def search(view: View, text: str) -> list[str]:
    return ids_of(view, PREMISES, Find(search=text))


AMOUNTS = ["9999999.00", "34000000.00", "5.00", "-0.50", "0.10", None, "92233720368547758.07", "9223372036854775807.99"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        ("5.00", "9999999.00", ["p0", "p2"]),
        ("10.00", None, ["p0", "p1", "p6", "p7"]),
        (None, "0.10", ["p3", "p4"]),
        (None, "-0.50", ["p3"]),
        ("0.11", "4.99", []),
        ("34000000.00", "34000000.00", ["p1"]),
        ("9223372036854775807.99", None, ["p6", "p7"]),  # beyond 64 bits all amounts are the same
        (None, "99999999999999999999999.00", ["p0", "p1", "p2", "p3", "p4", "p6", "p7"]),
    ],
)
def test_money_is_cut_as_an_amount_and_not_as_text(
    view: View, low: str | None, high: str | None, expected: list[str]
) -> None:
    premises(view, price=[amount and Decimal(amount) for amount in AMOUNTS])
    assert ids_of(view, PREMISES, Find(ranges={"price": (low, high)})) == expected


@pytest.mark.parametrize("order", ["price", "-price"])
@pytest.mark.parametrize("limit", [1, 2, 9])
def test_pages_in_the_order_of_money_walk_every_row_that_has_it(view: View, order: str, limit: int) -> None:
    premises(view, price=[amount and Decimal(amount) for amount in (*AMOUNTS, "5.00", "5.00")])
    expected = ["p3", "p4", "p2", "p8", "p9", "p0", "p1", "p6", "p7"]
    found: list[str] = []
    place = None
    while True:
        page = view.find(PREMISES, Find(order=order, limit=limit, after=place, count=True))
        found += [row["ext_id"] for row in page.rows]
        assert page.total == 9
        if (place := page.after) is None:
            break
    assert found == (expected[::-1] if order.startswith("-") else expected)


@given(
    st.lists(st.none() | st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0, 1.5]), max_size=12),
    st.integers(0, 13), st.integers(1, 5), st.booleans(),
)  # fmt: skip
def test_skipping_finds_what_walking_finds(sizes: list[float | None], skip: int, limit: int, down: bool) -> None:
    with TemporaryDirectory() as folder, opened(folder) as view:
        premises(view, size=sizes)
        known = sorted((size, f"p{n}") for n, size in enumerate(sizes) if size is not None)
        expected = [ext_id for _, ext_id in (known[::-1] if down else known)]
        order = "-size" if down else "size"
        page = view.find(PREMISES, Find(order=order, skip=skip, limit=limit, count=True))
        assert [row["ext_id"] for row in page.rows] == expected[skip : skip + limit]
        assert page.total == len(expected)
        assert (page.after is None) == (skip + limit >= len(expected))
        if page.after:
            rest = Find(order=order, after=page.after, limit=99)
            assert ids_of(view, PREMISES, rest) == expected[skip + limit :]


def test_times_and_numbers_are_cut_and_bounds_are_included(view: View) -> None:
    put(view, *(state(LEADS, f"l{n}", n, lead_number=n * 10, state="ACTIVE") for n in range(1, 6)))
    assert ids_of(view, LEADS, Find(ranges={"changed_at": (2, 4)})) == ["l2", "l3", "l4"]
    both = Find({"state": "ACTIVE"}, ranges={"changed_at": (2, None), "lead_number": (None, 30)}, count=True, limit=1)
    assert ids_of(view, LEADS, both) == ["l2"]
    assert view.find(LEADS, both).total == 2


@pytest.mark.parametrize("name", ["state", "ext_id", "price", 'fee" = 1 OR 1=1 --', ""])
def test_a_range_of_what_has_none_is_refused(view: View, name: str) -> None:
    with pytest.raises(InvalidInput, match="a field with ranges: changed_at, fee, lead_number"):
        view.find(LEADS, Find(ranges={name: ("1", None)}))


NAMES = [
    "Квартира-студия на улице Ёлочной", "ДОМ «БЕЛЫЙ СОКОЛ»", "Oʻzbekiston ko'chasi, 12-uy", "Ўзбекистон кўчаси",
    "ПАРКОВКА №5", None, "Стоянка, 100% новая", "Straße ІЇ", "йод", "a_b",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("квартира", ["p0"]), ("КВАРТИРА", ["p0"]), ("артир", ["p0"]), ("елочн", ["p0"]), ("ЁЛОЧНОЙ", ["p0"]),
        ("студия улице", ["p0"]), ("улице студия", ["p0"]), ("студия сокол", []), ("белый", ["p1"]),
        ("o'zbek", ["p2"]), ("O‘ZBEKISTON", ["p2"]), ("ozbek", ["p2"]), ("koʻchasi 12", ["p2"]), ("12", ["p2"]),
        ("ўзбек", ["p3"]), ("ЎЗБЕКИСТОН", ["p3"]), ("КЎЧА", ["p3"]), ("кўча", ["p3"]), ("узбек", []),
        ("№5", ["p4"]), ("no5", ["p4"]), ("парк №5", ["p4"]), ("5", ["p4"]), ("я", ["p0", "p6"]), ("ая 1", ["p6"]),
        ("100%", ["p6"]), ("%", ["p6"]), ("STRASSE", ["p7"]), ("ії", ["p7"]), ("йод", ["p8"]), ("иод", []),
        ("a_b", ["p9"]), ("a%b", []), ('"', []), ('сокол"', []), ("NOT", []), ("OR", []), ("name:дом", []),
        ("дом*", []),
        ("сокол»", ["p1"]), ("\tдом\n  сокол ", ["p1"]), ("link", ["p0"]),
    ],
)  # fmt: skip
def test_text_is_found_in_any_case_and_by_any_part(view: View, text: str, expected: list[str]) -> None:
    premises(view, name=NAMES, link=["http://LINK/", *[None] * (len(NAMES) - 1)])
    assert search(view, text) == expected


@pytest.mark.parametrize("text", ["", " ", "\n", "'", "\0"])
def test_a_search_without_words_is_refused(view: View, text: str) -> None:
    with pytest.raises(InvalidInput, match="q: expected a word or a part of one"):
        search(view, text)
    with pytest.raises(InvalidInput, match=f"q: expected at most {MOST_CHARACTERS} characters"):
        search(view, "x" * (MOST_CHARACTERS + 1))
    with pytest.raises(InvalidInput, match="q: expected no text search"):
        view.find(PROJECTS, Find(search="x"))


texts = st.none() | st.text(alphabet="абвЁё 'ʻ\"*-\0", max_size=8) | st.sampled_from(["абв", "АБВ где", "где"])


@given(
    st.lists(st.lists(st.tuples(st.sampled_from("abcd"), st.just("gone") | texts), max_size=5), max_size=5),
    st.text(alphabet="абвгдеЁ\"'* ", min_size=1, max_size=6).filter(lambda text: bool(folded(text))),
)
def test_what_is_found_is_what_the_texts_say_whatever_came_before(
    batches: list[list[tuple[str, str | None]]], asked: str
) -> None:
    """The text index is another structure than the rows: it must never name what a row has no more."""
    known: dict[str, str | None] = {}
    with TemporaryDirectory() as folder, opened(folder) as view:
        for batch in batches:
            changes = []
            for ext_id, name in batch:
                gone = name == "gone"
                changes.append(Change(PREMISES, ext_id, None if gone else state(PREMISES, ext_id, name=name)))
                known.pop(ext_id, None)
                if not gone:
                    known[ext_id] = name
            view.apply(changes, {})
        words = folded(asked).split()
        expected = sorted(i for i, name in known.items() if name and all(word in folded(name) for word in words))
        assert search(view, asked) == expected
        view._writer.execute("INSERT INTO estate_premise_text (estate_premise_text) VALUES ('integrity-check')")


def test_a_search_goes_on_after_all_is_forgotten_and_after_a_crash(view: View) -> None:
    premises(view, name=["Дом"])
    view.reset()
    assert search(view, "дом") == []
    premises(view, name=["Дом", "Сад"])
    bad = state(PREMISES, "p0", name="Лес", floor=2**63)
    with pytest.raises(OverflowError):
        put(view, bad, aggregate=PREMISES)
    assert (search(view, "дом"), search(view, "лес")) == (["p0"], [])


def test_states_of_a_stranger_are_found_by_the_keys_of_their_records(view: View) -> None:
    """Two of one id in a batch, one of none, and a number for a text ended the gateway, again at each start."""
    odd = [state(PREMISES, "p9", name="Дом"), state(PREMISES, "p9", name=54321), state(PREMISES, None, name="Сад")]  # type: ignore[arg-type]
    view.apply([Change(PREMISES, f"k{n}", said) for n, said in enumerate(odd)], {})
    view.apply([Change(PREMISES, "k0", None), Change(PREMISES, "k3", state(PREMISES, "k0", name="Дом"))], {})
    assert [search(view, text) for text in ("дом", "54321", "сад")] == [["k3"], ["k1"], ["k2"]]
    assert view.get(PREMISES, "p9") is None


def plan(folder: Path, wanted: Find, view: View) -> str:
    query, values = wanted.sql(view._tables[PREMISES])
    with closing(sqlite3.connect(folder / "view.sqlite")) as db:
        return str(db.execute(f"EXPLAIN QUERY PLAN {query}", values).fetchall())


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (Find({"building_ext_id": "b", "status": "FREE"}, {"price": ("1.00", "2.00")}, order="price"),
         "estate_premise_building_ext_id_status_price (building_ext_id=? AND status=? AND price_cents>?"),
        (Find({"section_ext_id": "s"}), "estate_premise_section_ext_id (section_ext_id=?)"),
        (Find(order="-price"), "estate_premise_price"),
        (Find(order="size", after=(1.5, "p")), "estate_premise_size"),
        (Find(ranges={"changed_at": (1, 2)}, order="-changed_at"), "estate_premise_changed_at"),
        (Find(search="дом сад"), "VIRTUAL TABLE INDEX"),
    ],
)  # fmt: skip
def test_what_is_declared_is_used(view: View, tmp_path: Path, wanted: Find, index: str) -> None:
    premises(view, price=[Decimal(n) for n in range(9)])
    said = plan(tmp_path, wanted, view)
    assert index in said
    if not wanted.search:
        assert "TEMP B-TREE" not in said, "it is read in order"


def test_a_question_that_takes_too_long_is_ended(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    premises(view, name=[f"Дом {n} " + "x" * 200 for n in range(3_000)])
    monkeypatch.setattr(module, "FIND_S", 0.0)
    with pytest.raises(QueryTooLarge, match="longer than 0 s"):
        search(view, "я")
    monkeypatch.undo()
    assert search(view, "я") == []
