"""The SQL table of one aggregate in the view: its columns, its indexes, and the statements that write it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from operator import itemgetter
from typing import Any, Final

from schemas.errors import BrokenSetup
from tables.layout import Layout, State
from tables.listing import Listing, Path
from tables.words import folded

OLDEST: Final = (3, 34, 0)
"""The oldest SQLite that serves: it brought the trigrams of the text index (sqlite.org/releaselog/3_34_0.html)."""
ROW: Final = "_row"
"""The column that names a row for the text index. SQLite's own row ids may change when a file is vacuumed."""
TEXT: Final = "_text"
"""The column of searched texts, in the form of `tables.words.folded`."""
CENTS: Final = "_cents"
"""Suffix of the column that SQLite derives from money as text: whole cents, which sort and add exactly. Beyond 64
bits (92 quadrillion) all amounts are the same there."""
MOST_CENTS: Final = 2**63 - 1
SQL_TYPES: Final = {"long": "INTEGER", "timestamp-micros": "INTEGER", "double": "REAL", "boolean": "INTEGER"}
READ: Final[dict[str, Callable[[Any], Any]]] = {"array": json.loads, "boolean": bool, "decimal": Decimal}
"""Functions that read values of kinds that SQLite has no type for."""


class TextIndex:
    """The text index of a table, by all parts of three characters. It is written once a batch: a trigger would make
    FTS5 flush its memory at each row, which took 60 µs a row."""

    def __init__(self, table: str) -> None:
        self.name = f"{table}_text"
        options = f"content='{table}', content_rowid='{ROW}', columnsize=0, tokenize='trigram case_sensitive 1'"
        self.create = f"CREATE VIRTUAL TABLE IF NOT EXISTS {self.name} USING fts5({TEXT}, {options})"

    def take_out(self, db: sqlite3.Connection, texts: Sequence[tuple[int, str]]) -> None:
        """Remove the texts of rows. An external content table needs the old text of what is deleted:
        sqlite.org/fts5.html#the_delete_command."""
        self._write(db, f"INSERT INTO {self.name} ({self.name}, rowid, {TEXT}) SELECT 'delete', id, text", texts)

    def put_in(self, db: sqlite3.Connection, texts: Sequence[tuple[int, str]]) -> None:
        """Add the texts of rows."""
        self._write(db, f"INSERT INTO {self.name} (rowid, {TEXT}) SELECT id, text", texts)

    def _write(self, db: sqlite3.Connection, statement: str, texts: Sequence[tuple[int, str]]) -> None:
        """Write all texts in one statement, at the end of which FTS5 flushes."""
        if texts:
            db.execute("CREATE TEMP TABLE IF NOT EXISTS texts (id INTEGER PRIMARY KEY, text TEXT)")
            db.execute("DELETE FROM temp.texts")
            db.executemany("INSERT INTO temp.texts VALUES (?, ?)", texts)
            db.execute(f"{statement} FROM temp.texts")


@dataclass
class Writes:
    """The writes of a batch to a table. Rows have ids, and values in the order of the columns."""

    gone: list[tuple[int]] = field(default_factory=list)
    new: list[list[Any]] = field(default_factory=list)
    """Id and values of each new row."""
    changed: dict[tuple[int, ...], list[list[Any]]] = field(default_factory=dict)
    """New values and id of changed rows, by the places of the columns that differ."""
    old_texts: list[tuple[int, str]] = field(default_factory=list)
    new_texts: list[tuple[int, str]] = field(default_factory=list)

    def add(self, id: int, before: Sequence[Any] | None, after: Sequence[Any] | None) -> None:
        """Add the write that turns a row from ``before`` into ``after``; None: no row."""
        if after is None:
            if before is not None:
                self.gone.append((id,))
        elif before is None:
            self.new.append([id, *after])
        elif differs := tuple(i for i, value in enumerate(after) if value != before[i]):
            self.changed.setdefault(differs, []).append([*(after[i] for i in differs), id])

    def add_text(self, id: int, before: str | None, after: str | None) -> None:
        """Add the write that turns a row's text from ``before`` into ``after``; None: no text."""
        if before != after:
            self.old_texts += [(id, before)] if before else []
            self.new_texts += [(id, after)] if after else []


class ViewTable:
    """The table of one aggregate: ``estate_lead`` of ``estate.lead``. Raises TypeError for an unfit listing."""

    def __init__(self, layout: Layout, listing: Listing) -> None:
        listing.check(layout)
        self.layout, self.listing = layout, listing
        self.name = table_name(layout.aggregate)
        self.kinds = layout.kinds
        self.money = [name for name, kind in self.kinds.items() if kind == "decimal"]
        self.through = {name: _by_parent(name, path) for name, path in listing.through.items()}
        """Conditions on fields of parents, by name."""
        self.covered = frozenset((*listing.covers, "ext_id")) if listing.covers else frozenset()
        """Fields that the covering index has; empty: there is none."""
        self.by_cover = f"INDEXED BY {self.name}_covering"
        """The clause that makes a query read the covering index."""
        self._search = [layout.fields.index(name) for name in listing.search]
        self._names = [*self.kinds, *([TEXT] if self._search else [])]
        self.columns = ", ".join(f'"{name}"' for name in self.kinds)
        """Columns that a query reads, without those that only serve searches."""
        # All names are ours: no text of a request is ever part of a statement.
        own = ", ".join(f'"{name}"' for name in (ROW, *self._names))
        self._insert = f"INSERT INTO {self.name} ({own}) VALUES ({', '.join('?' * (1 + len(self._names)))})"  # noqa: S608
        self._delete = f"DELETE FROM {self.name} WHERE {ROW} = ?"  # noqa: S608
        self._select = f"SELECT {own} FROM temp.keys CROSS JOIN {self.name} USING (ext_id)"  # noqa: S608
        self.ddl = [self._create_table(), *self._create_indexes()]
        """The statements that create the table, in order."""
        self.drop = [f"DROP TABLE IF EXISTS {self.name}"]
        self.texts = TextIndex(self.name) if self._search else None
        if self.texts:
            self.ddl.append(self.texts.create)
            self.drop.insert(0, f"DROP TABLE IF EXISTS {self.texts.name}")

    def column(self, name: str) -> str:
        """Returns the column by which a field sorts and compares."""
        return f"{name}{CENTS}" if self.kinds[name] == "decimal" else name

    def apply(self, db: sqlite3.Connection, states: Sequence[tuple[str, State | None]]) -> int:
        """Write the last state of each key in ``states``, each key once; None deletes it. Returns the number of rows
        that have changed.

        Only the differing columns of an existing row are written: an upsert of all columns writes all indexes, which
        took half as long again. A view has one writer, so no other write comes between the read and the write.
        """
        states = sorted(states, key=itemgetter(0))  # neighbours share pages of the key's index
        writes = Writes()
        known = self._known(db, [(key,) for key, _ in states])
        free = (db.execute(f"SELECT max({ROW}) FROM {self.name}").fetchone()[0] or 0) + 1  # noqa: S608
        for key, state in states:
            # Version 0: only reports about the thing have come, not the thing itself.
            after = self.values(key, state) if state is not None and state.version else None
            id, before = known.get(key) or (free + len(writes.new), None)
            writes.add(id, before, after)
            if self.texts:
                writes.add_text(id, before[-1] if before else None, after[-1] if after else None)
        if self.texts:
            self.texts.take_out(db, writes.old_texts)
        db.executemany(self._delete, writes.gone)
        db.executemany(self._insert, writes.new)
        for columns, rows in writes.changed.items():
            db.executemany(self._update(columns), rows)
        if self.texts:
            self.texts.put_in(db, writes.new_texts)
        return len(writes.gone) + len(writes.new) + sum(map(len, writes.changed.values()))

    def _known(self, db: sqlite3.Connection, keys: Sequence[tuple[str]]) -> dict[str, tuple[int, tuple[Any, ...]]]:
        """Returns the existing rows of these keys: id and values by key."""
        db.execute("CREATE TEMP TABLE IF NOT EXISTS keys (ext_id TEXT PRIMARY KEY) WITHOUT ROWID")
        db.execute("DELETE FROM temp.keys")
        db.executemany("INSERT INTO temp.keys VALUES (?)", keys)
        cursor = db.cursor()
        cursor.row_factory = None  # plain tuples, in half the time
        return {row[1]: (row[0], row[1:]) for row in cursor.execute(self._select)}

    def _update(self, columns: Sequence[int]) -> str:
        assigned = ", ".join(f'"{self._names[i]}" = ?' for i in columns)
        return f"UPDATE {self.name} SET {assigned} WHERE {ROW} = ?"  # noqa: S608

    def values(self, key: str, state: State) -> list[Any]:
        """Returns a state as the values of its row. The key is the record's, whatever a foreign producer put into the
        state."""
        values = list(state[: len(self.kinds)])
        values[0] = key
        for i, value in enumerate(values):
            if isinstance(value, Decimal):
                values[i] = f"{value:.2f}"  # never with an exponent: the cents are what stands without the point
            elif isinstance(value, tuple):
                values[i] = json_text(value)
        if self._search:
            values.append("\n".join(folded(str(values[i])) for i in self._search if values[i]) or None)
        return values

    def document(self, row: sqlite3.Row) -> dict[str, Any]:
        """Returns a row's fields that have values, by name."""
        found = {}
        for name, value in zip(row.keys(), row, strict=True):
            if value is not None and name in self.kinds:  # the others only serve searches
                found[name] = READ[self.kinds[name]](value) if self.kinds[name] in READ else value
        return found

    def _create_table(self) -> str:
        typed = [f'"{ROW}" INTEGER PRIMARY KEY']
        typed += [f'"{name}" {SQL_TYPES.get(kind, "TEXT")}' for name, kind in self.kinds.items()]
        typed += [f'"{TEXT}" TEXT'] if self._search else []
        typed += [
            f"""\"{name}{CENTS}\" INTEGER AS (CAST(replace("{name}", '.', '') AS INTEGER)) VIRTUAL"""
            for name in self.money
        ]
        return f"CREATE TABLE IF NOT EXISTS {self.name} ({', '.join(typed)}, UNIQUE (ext_id))"

    def _create_indexes(self) -> list[str]:
        """Returns the statements for the indexes. One that sorts has every row; one that only filters leaves out rows
        without a value, which are many."""
        sorts = {(name,) for name in (*self.listing.sorted_by(), *self.listing.cut_by())}
        made = []
        for fields in self.listing.indexed(self.layout):
            columns = [f'"{self.column(name)}"' for name in dict.fromkeys((*fields, "ext_id"))]
            rows = "" if fields in sorts else f" WHERE {columns[0]} IS NOT NULL"
            name = f'"{self.name}_{"_".join(fields)}"'
            made.append(f"CREATE INDEX IF NOT EXISTS {name} ON {self.name} ({', '.join(columns)}){rows}")
        if self.listing.covers:
            columns = [f'"{self.column(name)}"' for name in dict.fromkeys((*self.listing.covers, "ext_id"))]
            made.append(f"CREATE INDEX IF NOT EXISTS {self.name}_covering ON {self.name} ({', '.join(columns)})")
        return made


def json_text(value: Any) -> str:
    """Returns JSON in the form in which lists stand in their columns."""
    return json.dumps(value, ensure_ascii=False)


def table_name(aggregate: str) -> str:
    """Returns the name of an aggregate's table."""
    return aggregate.replace(".", "_").replace("-", "_")


def _by_parent(name: str, path: Path) -> str:
    """Returns the condition that the parent at the end of a path has a value in the field ``name``."""
    if not path:
        return f'"{name}" = ?'
    (reference, aggregate), *rest = path
    return f'"{reference}" IN (SELECT ext_id FROM {table_name(aggregate)} WHERE {_by_parent(name, tuple(rest))})'  # noqa: S608 - our names


def require_sqlite(db: sqlite3.Connection, version: tuple[int, ...] = sqlite3.sqlite_version_info) -> None:
    """Raises BrokenSetup if the SQLite of this Python lacks a feature that the view needs."""
    hint = "Use a Python whose sqlite3 module was built with SQLite 3.34 or newer and with FTS5."
    said = ".".join(str(part) for part in version)
    if version < OLDEST:
        raise BrokenSetup(f"the view needs SQLite 3.34 or newer, this Python has {said}", hint=hint)
    try:
        db.execute("CREATE VIRTUAL TABLE temp.probe USING fts5(x, tokenize='trigram')")
        db.execute("DROP TABLE temp.probe")
    except sqlite3.Error as error:
        said = f"the view needs FTS5 for its text search, SQLite {said} says: {error}"
        raise BrokenSetup(said, hint=hint) from None
