"""The SQL table of one aggregate in the view: its columns, its indexes, and the statements that write it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from decimal import Decimal
from operator import itemgetter
from typing import Any, Final

from schemas.errors import BrokenSetup
from tables.layout import Layout, State
from tables.listing import Listing
from tables.words import folded

OLDEST: Final = (3, 34, 0)
"""The oldest SQLite that serves: it brought the trigrams of the text index (sqlite.org/releaselog/3_34_0.html)."""
ROW: Final = "_row"
"""The column that names a row for the text index. SQLite's own row ids may change when a file is vacuumed."""
TEXT: Final = "_text"
"""The column of the texts that are searched, as `tables.words.folded` leaves them."""
CENTS: Final = "_cents"
"""Ends the name of the column that SQLite makes of money as text: whole cents, which sort and add exactly. Beyond 64
bits (92 quadrillion) all amounts are the same there."""
MOST_CENTS: Final = 2**63 - 1
SQL_TYPES: Final = {"long": "INTEGER", "timestamp-micros": "INTEGER", "double": "REAL", "boolean": "INTEGER"}
READ: Final[dict[str, Callable[[Any], Any]]] = {"array": json.loads, "boolean": bool, "decimal": Decimal}
"""How values come back that SQLite has no type for, by kind."""


class TextIndex:
    """The text index of a table, by all parts of three characters. It is written once a batch: a trigger would make
    FTS5 flush its memory at each row, which took 60 µs a row."""

    def __init__(self, table: str) -> None:
        self._table = table
        self.name = f"{table}_text"
        options = f"content='{table}', content_rowid='{ROW}', columnsize=0, tokenize='trigram case_sensitive 1'"
        self.create = f"CREATE VIRTUAL TABLE IF NOT EXISTS {self.name} USING fts5({TEXT}, {options})"

    def take_out(self, db: sqlite3.Connection, texts: Sequence[tuple[str, str | None]]) -> list[tuple[str]]:
        """Forget the texts that are to be others, before they are written; ``texts``: the new ones by key. Returns the
        keys of those, and of the new rows."""
        db.execute("CREATE TEMP TABLE IF NOT EXISTS texts (ext_id TEXT PRIMARY KEY, text TEXT) WITHOUT ROWID")
        db.execute("DELETE FROM temp.texts")
        db.executemany("INSERT INTO temp.texts VALUES (?, ?)", texts)
        # An external content table needs the old text of what is deleted: sqlite.org/fts5.html#the_delete_command
        db.execute(
            f"INSERT INTO {self.name} ({self.name}, rowid, {TEXT}) SELECT 'delete', {ROW}, {TEXT}"  # noqa: S608 - names of ours
            f" FROM temp.texts JOIN {self._table} USING (ext_id) WHERE {TEXT} IS NOT NULL AND {TEXT} IS NOT text"
        )
        query = f"SELECT ext_id FROM temp.texts LEFT JOIN {self._table} USING (ext_id) WHERE {TEXT} IS NOT text"  # noqa: S608
        return [(row[0],) for row in db.execute(query).fetchall()]

    def put_in(self, db: sqlite3.Connection, keys: Sequence[tuple[str]]) -> None:
        """Take up the texts of ``keys``, after they are written."""
        db.execute("DELETE FROM temp.texts")
        db.executemany("INSERT INTO temp.texts (ext_id) VALUES (?)", keys)
        db.execute(
            f"INSERT INTO {self.name} (rowid, {TEXT}) SELECT {ROW}, {TEXT}"  # noqa: S608
            f" FROM temp.texts JOIN {self._table} USING (ext_id) WHERE {TEXT} IS NOT NULL"
        )


class ViewTable:
    """The table of one aggregate: ``estate_lead`` of ``estate.lead``. Raises TypeError for an unfit listing."""

    def __init__(self, layout: Layout, listing: Listing) -> None:
        listing.check(layout)
        self.layout, self.listing = layout, listing
        self.name = layout.aggregate.replace(".", "_").replace("-", "_")
        self.kinds = layout.kinds
        self.money = [name for name, kind in self.kinds.items() if kind == "decimal"]
        self._search = [layout.fields.index(name) for name in listing.search]
        names = [*self.kinds, *([TEXT] if self._search else [])]
        self.columns = ", ".join(f'"{name}"' for name in self.kinds)
        """What a question reads; not the columns that only serve to find."""
        own = ", ".join(f'"{name}"' for name in names)
        updated = ", ".join(f'"{name}" = excluded."{name}"' for name in names if name != "ext_id")
        marks = ", ".join("?" * len(names))
        # All names are ours: no text of a request is ever part of a statement.
        self.upsert = (
            f"INSERT INTO {self.name} ({own}) VALUES ({marks})"  # noqa: S608
            f" ON CONFLICT (ext_id) DO UPDATE SET {updated}"
        )
        self.delete = f"DELETE FROM {self.name} WHERE ext_id = ?"  # noqa: S608
        self.ddl = [self._create_table(), *self._create_indexes()]
        """The statements that create it, in order."""
        self.drop = [f"DROP TABLE IF EXISTS {self.name}"]
        self.texts = TextIndex(self.name) if self._search else None
        if self.texts:
            self.ddl.append(self.texts.create)
            self.drop.insert(0, f"DROP TABLE IF EXISTS {self.texts.name}")

    def column(self, name: str) -> str:
        """The column by which a field sorts and compares."""
        return f"{name}{CENTS}" if self.kinds[name] == "decimal" else name

    def apply(self, db: sqlite3.Connection, states: Sequence[tuple[str, State | None]]) -> None:
        """Write the last state of each key in ``states``; None deletes it."""
        states = sorted(states, key=itemgetter(0))  # neighbours share pages of the key's index
        # Of version 0 is what only reports about a thing that has not come yet.
        gone = [(key,) for key, state in states if state is None or not state.version]
        rows = [self.values(key, state) for key, state in states if state is not None and state.version]
        changed = []
        if self.texts:
            changed = self.texts.take_out(db, [*((key, None) for (key,) in gone), *((row[0], row[-1]) for row in rows)])
        db.executemany(self.delete, gone)
        db.executemany(self.upsert, rows)
        if self.texts:
            self.texts.put_in(db, changed)

    def values(self, key: str, state: State) -> list[Any]:
        """A state as the parameters of `upsert`. Its key is that of its record, whatever a stranger has put into it."""
        values = list(state[: len(self.kinds)])
        values[0] = key
        for i, value in enumerate(values):
            if isinstance(value, Decimal):
                values[i] = f"{value:.2f}"  # never with an exponent: the cents are what stands without the point
            elif isinstance(value, tuple):
                values[i] = json.dumps(value, ensure_ascii=False)
        if self._search:
            values.append("\n".join(folded(str(values[i])) for i in self._search if values[i]) or None)
        return values

    def document(self, row: sqlite3.Row) -> dict[str, Any]:
        """A row's fields that are known, by name."""
        found = {}
        for name, value in zip(row.keys(), row, strict=True):
            if value is not None and name in self.kinds:  # the others only serve to find
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
        """An index that sorts has every row; one that only filters leaves out rows without a value, which are many."""
        sorts = {(name,) for name in (*self.listing.sorted_by(), *self.listing.cut_by())}
        made = []
        for fields in self.listing.indexed(self.layout):
            columns = [f'"{self.column(name)}"' for name in dict.fromkeys((*fields, "ext_id"))]
            rows = "" if fields in sorts else f" WHERE {columns[0]} IS NOT NULL"
            name = f'"{self.name}_{"_".join(fields)}"'
            made.append(f"CREATE INDEX IF NOT EXISTS {name} ON {self.name} ({', '.join(columns)}){rows}")
        return made


def require_sqlite(db: sqlite3.Connection, version: tuple[int, ...] = sqlite3.sqlite_version_info) -> None:
    """Raise BrokenSetup if the SQLite of this Python lacks what the view needs."""
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
