"""A query of one table of the view, as SQL: filters, ranges, text, order and page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.errors import InvalidInput
from tables.view_table import MOST_CENTS, ROW, TEXT, ViewTable
from tables.words import LEAST_CHARACTERS, words_of

SEARCH: Final = "q"
"""The name of the text search in errors and requests."""


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
    """Values that fields must equal."""
    ranges: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """The least and the greatest value of fields, both included; None: no bound. Money is exact text, as in filters."""

    def sql(self, table: ViewTable) -> tuple[str, list[Any]]:
        """Returns the query for one row more than the page has, and its parameters. Raises InvalidInput."""
        descending, name = self._sorted_by(table)
        column, way = f'"{table.column(name)}"', "DESC" if descending else "ASC"
        by = list(dict.fromkeys([column, '"ext_id"']))  # the key breaks ties, and sorts once
        conditions, values = self._conditions(table, name)
        if self.after is not None:
            conditions.append(f"({', '.join(by)}) {'<' if descending else '>'} ({', '.join('?' * len(by))})")
            values += self.after[-len(by) :]
        sorts = ", ".join(f"{part} {way}" for part in by)
        query = (
            f"SELECT {table.columns}, {column} AS _place FROM {table.name} {_where(conditions)}"  # noqa: S608 - our names
            f" ORDER BY {sorts} LIMIT ? OFFSET ?"
        )
        return query, [*values, self.limit + 1, self.skip]

    def count_sql(self, table: ViewTable) -> tuple[str, list[Any]]:
        """Returns the query for the number of rows on all pages, and its parameters. Raises InvalidInput."""
        conditions, values = self._conditions(table, self._sorted_by(table)[1])
        return f"SELECT count(*) FROM {table.name} {_where(conditions)}", values  # noqa: S608

    def _sorted_by(self, table: ViewTable) -> tuple[bool, str]:
        name = self.order.removeprefix("-")
        if name not in (known := table.listing.sorted_by()):
            raise InvalidInput("order", f"one of {', '.join(known)}, with - for downwards", self.order)
        return self.order.startswith("-"), name

    def _conditions(self, table: ViewTable, order: str) -> tuple[list[str], list[Any]]:
        conditions: list[str] = []
        values: list[Any] = []
        for name, value in self.filters.items():
            if name not in table.kinds:
                raise InvalidInput(name, f"a field to filter by: {', '.join(table.kinds)}", value)
            conditions.append(f'"{name}" = ?')
            values.append(value)
        for name, bounds in self.ranges.items():
            if name not in (known := table.listing.cut_by()):
                raise InvalidInput(name, f"a field with ranges: {', '.join(known)}", bounds)
            for bound, sign in zip(bounds, (">=", "<="), strict=True):
                if bound is not None:
                    conditions.append(f'"{table.column(name)}" {sign} ?')
                    values.append(cents(bound) if table.kinds[name] == "decimal" else bound)
        if self.search is not None:
            self._searched(table, self.search, conditions, values)
        if order not in ("ext_id", "changed_at"):  # those are never absent
            conditions.append(f'"{table.column(order)}" IS NOT NULL')
        return conditions, values

    def _searched(self, table: ViewTable, search: str, conditions: list[str], values: list[Any]) -> None:
        """Add conditions for every word. Words too short for the index are searched in each row's text."""
        if not table.listing.search:
            raise InvalidInput(SEARCH, "no text search, as there is none here", search)
        words = words_of(SEARCH, search)
        if long := [word for word in words if len(word) >= LEAST_CHARACTERS]:
            conditions.append(f"{ROW} IN (SELECT rowid FROM {table.name}_text WHERE {table.name}_text MATCH ?)")  # noqa: S608
            values.append(" AND ".join('"' + word.replace('"', '""') + '"' for word in long))
        for word in words:
            if len(word) < LEAST_CHARACTERS:
                conditions.append(f"instr({TEXT}, ?) > 0")
                values.append(word)


def cents(amount: str) -> int:
    """Returns an amount in its column's form: whole cents, at most 64 bits. ``amount``: text with two decimals."""
    return max(-MOST_CENTS - 1, min(MOST_CENTS, int(amount.replace(".", ""))))


def _where(conditions: Sequence[str]) -> str:
    return f"WHERE {' AND '.join(conditions)}" if conditions else ""
