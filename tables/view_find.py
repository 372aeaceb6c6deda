"""A search in one table of the view: filters, ranges, text, order and page; and the SQL that reads it.

A table with a covering index (`Listing.covers`) has two more ways to read a page than SQLite chooses from, as it does
not know how many rows a filter finds. Where many match, the first rows of the order already have a page. Where few do,
the covering index has all that the filters read, in a tenth of the table's bytes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.errors import InvalidInput
from tables.view_conditions import ALWAYS_THERE, Condition, conditions, where
from tables.view_table import ROW, ViewTable

WINDOWS: Final = (250, 2_000)
"""Numbers of rows in the wanted order that are looked through first, each number in turn, at 2 µs a row. The covering
index takes some 30 ms for 200,000 rows."""


@dataclass(frozen=True, kw_only=True)
class PageRequest:
    """The page of a list that is wanted: search, order, place and size."""

    search: str | None = None
    """Words that stand in the texts of the state, whole or in part, in any letter case; None: not searched."""
    order: str = "ext_id"
    """A field of `Listing.sorted_by`, with ``-`` downwards. A row without it is not in the list."""
    after: Sequence[Any] | None = None
    """Place of the page before, from its `Page.after`."""
    skip: int = 0
    """Rows left out at the beginning."""
    limit: int = 50
    count: bool = False
    """Whether all matching rows are counted, whatever page is wanted."""


@dataclass(frozen=True)
class Find(PageRequest):
    """A search in a table, and the page of it that is wanted."""

    filters: Mapping[str, Any] = field(default_factory=dict)
    """Values that fields must equal; a name of `Listing.through` is a parent's field."""
    ranges: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """The least and the greatest value of fields, both included; None: no bound. Money is exact text, as in filters."""
    several: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Values of which fields must have one."""
    members: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Values that list fields must all have."""

    def check(self, table: ViewTable) -> None:
        """Raises InvalidInput if it can't be read from ``table``."""
        _Plan(self, table)

    def sources(self, table: ViewTable) -> tuple[str, ...]:
        """Returns the aggregates whose changes may change the page."""
        own = table.layout.aggregate
        return table.listing.sources(own) if self.filters.keys() & table.through.keys() else (own,)

    def read(self, db: sqlite3.Connection, table: ViewTable) -> list[sqlite3.Row]:
        """Returns the rows of the page and one more, if there are more. Raises InvalidInput."""
        plan = _Plan(self, table)
        if not plan.uses_cover:
            return db.execute(*self.sql(table)).fetchall()
        ids = plan.look(db) or plan.scan(db)
        if not ids:
            return []
        by_row = f"FROM {table.name} NOT INDEXED WHERE {ROW} IN ({', '.join('?' * len(ids))})"
        query = f"SELECT {table.columns}, {plan.column} AS _place {by_row}"
        return db.execute(f"{query} {plan.sorts}", ids).fetchall()

    def total(self, db: sqlite3.Connection, table: ViewTable) -> int:
        """Returns the number of rows on all pages. Raises InvalidInput."""
        plan = _Plan(self, table)
        text, values = where(plan.matching, plan.sign)
        index = table.by_cover if plan.is_covered else ""
        return int(db.execute(f"SELECT count(*) FROM {table.name} {index} {text}", values).fetchone()[0])  # noqa: S608

    def sql(self, table: ViewTable) -> tuple[str, list[Any]]:
        """Returns the query of a page for which SQLite chooses the index: for one row more than the page has, and its
        parameters. Raises InvalidInput."""
        plan = _Plan(self, table)
        text, values = where([*plan.matching, *plan.behind], plan.sign)
        query = f"SELECT {table.columns}, {plan.column} AS _place FROM {table.name} {text} {plan.sorts}"  # noqa: S608
        return f"{query} LIMIT ? OFFSET ?", [*values, self.limit + 1, self.skip]


class _Plan:
    """The parts of the queries for a page, and which of them serve."""

    def __init__(self, find: Find, table: ViewTable) -> None:
        self._find, self._table = find, table
        name = find.order.removeprefix("-")
        if name not in (known := table.listing.sorted_by()):
            raise InvalidInput("order", f"one of {', '.join(known)}, with - for downwards", find.order)
        self.column = f'"{table.column(name)}"'
        is_down = find.order.startswith("-")
        by = list(dict.fromkeys([self.column, '"ext_id"']))  # the key breaks ties, and sorts once
        self.sorts = "ORDER BY " + ", ".join(f"{part} {'DESC' if is_down else 'ASC'}" for part in by)
        filters = conditions(find, table)
        there = [] if name in ALWAYS_THERE else [Condition(f"{self.column} IS NOT NULL", (), name)]
        self.matching = [*filters, *there]
        """The conditions of all pages together."""
        self.behind: list[Condition] = []
        """The condition that a row is behind the page before."""
        if find.after is not None:
            place = f"({', '.join(by)}) {'<' if is_down else '>'} ({', '.join('?' * len(by))})"
            self.behind = [Condition(place, tuple(find.after[-len(by) :]), name, is_narrow=True)]
        is_narrow = any(one.is_narrow for one in filters)
        self.sign = "+" if table.listing.covers and is_narrow else ""
        self.is_covered = not is_narrow and {name, *(one.field for one in filters)} <= table.covered
        """Whether the covering index has all fields that are read, and no other index finds the rows sooner."""
        self._ordered = [one for one in filters if one.field == name]
        self._others = [one for one in filters if one.field != name]
        self.uses_cover = self.is_covered and bool(self._others)
        leads = any(one.field in table.listing.covers[:1] for one in filters)
        self._windows = [] if leads else [rows for rows in WINDOWS if rows > find.skip + find.limit]

    def look(self, db: sqlite3.Connection) -> list[int]:
        """Returns the page's rows if they are among the next rows of the order (`WINDOWS`); else none, as where the
        covering index leads to few rows at once."""
        limit = self._find.limit
        for window in self._windows:
            found = self._in_window(db, window)
            if len(found) > limit:
                return found
        return []

    def _in_window(self, db: sqlite3.Connection, window: int) -> list[int]:
        read = dict.fromkeys([self.column, '"ext_id"', *(f'"{self._table.column(o.field)}"' for o in self._others)])
        inside, first = where([*(one for one in self.matching if one not in self._others), *self.behind])
        outside, then = where(self._others)
        query = (
            f"SELECT {ROW} FROM (SELECT {ROW}, {', '.join(read)} FROM {self._table.name} {inside} {self.sorts}"  # noqa: S608
            f" LIMIT ?) {outside} {self.sorts} LIMIT ? OFFSET ?"
        )
        values = [*first, window, *then, self._find.limit + 1, self._find.skip]
        return [row[0] for row in db.execute(query, values)]

    def scan(self, db: sqlite3.Connection) -> list[int]:
        """Returns the page's rows by the covering index."""
        text, values = where([*self.matching, *self.behind])
        query = f"SELECT {ROW} FROM {self._table.name} {self._table.by_cover} {text} {self.sorts} LIMIT ? OFFSET ?"  # noqa: S608
        return [row[0] for row in db.execute(query, [*values, self._find.limit + 1, self._find.skip])]
