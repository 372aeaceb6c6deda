"""The conditions of a search in a table of the view, as SQL, each with the field that it reads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from schemas.errors import InvalidInput
from tables.view_table import MOST_CENTS, ROW, TEXT, ViewTable, json_text
from tables.words import LEAST_CHARACTERS, words_of

if TYPE_CHECKING:
    from tables.view_find import Find

SEARCH: Final = "q"
"""The name of the text search in errors and requests."""
ALWAYS_THERE: Final = ("ext_id", "changed_at")
"""Fields that no row lacks."""
_HAS_MEMBER: Final = '(instr("{0}", ?) > 0 AND EXISTS (SELECT 1 FROM json_each("{0}") WHERE json_each.value = ?))'
"""Condition that a list has a value. It is first looked for as a part of the JSON text, which is 20 times as fast as
reading it; that alone would also find it as a part of another value."""


class Condition(NamedTuple):
    """A condition, and the values of its parameters."""

    sql: str
    values: tuple[Any, ...]
    field: str
    """The field that it reads, `TEXT` for the text search."""
    is_narrow: bool = False
    """Whether few rows satisfy it, and an index of its own finds them: one reference, one key, or the text index."""


def conditions(find: Find, table: ViewTable) -> list[Condition]:
    """Returns the conditions of ``find``, without those of its order and place. Raises InvalidInput for a field that
    can't be searched so, and for a text without words."""
    found = [*_equal(find, table), *_among(find, table), *_within(find, table)]
    if find.search is not None:
        found += _searched(table, find.search)
    return found


def where(found: Iterable[Condition], sign: str = "") -> tuple[str, list[Any]]:
    """Returns a WHERE clause and its parameters. ``sign``: ``+`` keeps SQLite from using an index for conditions that
    are not narrow (sqlite.org/optoverview.html#disqualifying_where_clause_terms_using_unary_)."""
    listed = list(found)
    text = " AND ".join(one.sql if one.is_narrow else f"{sign}{one.sql}" for one in listed)
    return (f"WHERE {text}" if text else ""), [value for one in listed for value in one.values]


def _equal(find: Find, table: ViewTable) -> Iterator[Condition]:
    for name, value in find.filters.items():
        if name in table.through:
            yield Condition(table.through[name], (value,), table.listing.through[name][0][0])
            continue
        _require(name, value, "a field to filter by", (*table.kinds, *table.through))
        is_narrow = name.endswith("ext_id") and name not in table.listing.covers[:1]
        yield Condition(f'"{name}" = ?', (value,), name, is_narrow)


def _among(find: Find, table: ViewTable) -> Iterator[Condition]:
    for name, several in find.several.items():
        _require(name, several, "a field to filter by several values", table.listing.several)
        yield Condition(f'"{name}" IN ({", ".join("?" * len(several))})', tuple(several), name)
    for name, members in find.members.items():
        _require(name, members, "a list to filter by its values", table.listing.members.values())
        for member in members:
            yield Condition(_HAS_MEMBER.format(name), (json_text(member), member), name)


def _within(find: Find, table: ViewTable) -> Iterator[Condition]:
    for name, bounds in find.ranges.items():
        _require(name, bounds, "a field with ranges", table.listing.cut_by())
        for bound, sign in zip(bounds, (">=", "<="), strict=True):
            if bound is not None:
                value = cents(bound) if table.kinds[name] == "decimal" else bound
                yield Condition(f'"{table.column(name)}" {sign} ?', (value,), name)


def _searched(table: ViewTable, search: str) -> Iterator[Condition]:
    """Yields conditions for every word. Words too short for the index are searched in each row's text."""
    if not table.listing.search:
        raise InvalidInput(SEARCH, "no text search, as there is none here", search)
    words = words_of(SEARCH, search)
    if long := [word for word in words if len(word) >= LEAST_CHARACTERS]:
        sql = f"{ROW} IN (SELECT rowid FROM {table.name}_text WHERE {table.name}_text MATCH ?)"  # noqa: S608 - our names
        text = " AND ".join('"' + word.replace('"', '""') + '"' for word in long)
        yield Condition(sql, (text,), TEXT, is_narrow=True)
    for word in words:
        if len(word) < LEAST_CHARACTERS:
            yield Condition(f"instr({TEXT}, ?) > 0", (word,), TEXT)


def cents(amount: str) -> int:
    """Returns an amount in its column's form: whole cents, at most 64 bits. ``amount``: text with two decimals."""
    return max(-MOST_CENTS - 1, min(MOST_CENTS, int(amount.replace(".", ""))))


def _require(name: str, came: Any, expected: str, known: Collection[str]) -> None:
    if name not in known:
        raise InvalidInput(name, f"{expected}: {', '.join(known)}", came)
