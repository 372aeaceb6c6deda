"""SQL over several tables of the view: its values, and that it can neither write nor take all the time there is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from schemas.errors import QueryTooLarge
from tables.view import View
from tables.view_query import Query
from tests.unit.tables.views import LEADS, PREMISES, opened, put, state

OF_LEADS = Query(
    "SELECT l.ext_id, p.ext_id AS premise, p.price, p.is_sold, p.photos, p.changed_at FROM estate_lead l"
    " LEFT JOIN estate_premise p ON p.ext_id = l.premise_ext_id WHERE l.state = :state ORDER BY l.ext_id",
    kinds={"price": "decimal", "is_sold": "boolean", "photos": "array"},
)
FOR_EVER = Query(
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) AS s FROM n", timeout_s=0.1
)


@pytest.fixture
def view(tmp_path: Path) -> Iterator[View]:
    with opened(tmp_path) as view:
        put(view, *(state(LEADS, f"l{n}", premise_ext_id=f"p{n}", state="ACTIVE") for n in range(3)))
        flat = state(PREMISES, "p0", 7, price=Decimal("10.50"), is_sold=False, photos=("ё",), name="Белый дом")
        put(view, flat, state(PREMISES, "p1"), aggregate=PREMISES)
        yield view


def test_rows_of_a_join_come_by_name_with_their_kinds(view: View) -> None:
    assert view.ask(OF_LEADS, state="ACTIVE") == [
        {
            "ext_id": "l0",
            "premise": "p0",
            "price": Decimal("10.50"),
            "is_sold": False,
            "photos": ["ё"],
            "changed_at": 7,
        },
        {"ext_id": "l1", "premise": "p1", "price": None, "is_sold": None, "photos": None, "changed_at": 1},
        {"ext_id": "l2", "premise": None, "price": None, "is_sold": None, "photos": None, "changed_at": None},
    ]
    assert view.ask(OF_LEADS, state="' OR 1=1 --") == []


def test_the_text_index_is_there_for_queries_too(view: View) -> None:
    found = Query(
        "SELECT p.ext_id FROM estate_premise_text t JOIN estate_premise p ON p._row = t.rowid"
        " WHERE estate_premise_text MATCH :words"
    )
    assert view.ask(found, words='"белый"') == [{"ext_id": "p0"}]


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM estate_lead",
        "UPDATE estate_lead SET state = 'x'",
        "INSERT INTO offsets VALUES ('x', 0, 0, 0)",
        "INSERT INTO estate_lead (ext_id) VALUES ('x') RETURNING ext_id",
        "DROP TABLE estate_lead",
        "PRAGMA user_version = 1",
        "PRAGMA query_only = OFF",
        "ATTACH 'other.sqlite' AS other",
        "UPDATE sqlite_master SET sql = ''",
        "VACUUM INTO 'copy.sqlite'",
    ],
)
def test_a_query_can_not_write(view: View, sql: str) -> None:
    with pytest.raises(sqlite3.DatabaseError, match=r"not authorized|authorization denied|readonly|not be modified"):
        view.ask(Query(sql))
    assert len(view.ask(OF_LEADS, state="ACTIVE")) == 3


def test_a_query_is_ended_after_its_time_and_the_next_one_runs(view: View) -> None:
    with pytest.raises(QueryTooLarge, match=r"longer than 0\.1 s"):
        view.ask(FOR_EVER)
    assert len(view.ask(OF_LEADS, state="ACTIVE")) == 3


def test_an_answer_with_too_many_rows_is_refused_and_not_cut(view: View) -> None:
    for most, fits in ((2, False), (3, True)):
        query = Query("SELECT ext_id FROM estate_lead", most_rows=most)
        if fits:
            assert len(view.ask(query)) == 3
        else:
            with pytest.raises(QueryTooLarge, match="more than 2 rows"):
                view.ask(query)


def test_two_columns_of_one_name_are_refused(view: View) -> None:
    """One of them would hide the other."""
    with pytest.raises(TypeError, match="two columns"):
        view.ask(Query("SELECT l.ext_id, p.ext_id FROM estate_lead l, estate_premise p"))
