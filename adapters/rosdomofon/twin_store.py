"""The memory of the operator's twin: one SQLite database, in memory or in a file that survives restarts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

LAYOUT: Final = 1
"""Rises with the tables below; a file of another layout is refused."""
_TABLES: Final = """
CREATE TABLE docs (kind TEXT NOT NULL, id INTEGER NOT NULL, doc TEXT NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE INDEX docs_phone ON docs (kind, json_extract(doc, '$.phone'));
CREATE INDEX docs_number ON docs (kind, json_extract(doc, '$.number'));
CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, abonent_id INTEGER NOT NULL, phone INTEGER NOT NULL,
                       channel TEXT NOT NULL, incoming INTEGER NOT NULL, message TEXT NOT NULL, at_ms INTEGER NOT NULL,
                       via TEXT NOT NULL);
CREATE INDEX messages_abonent ON messages (abonent_id, id);
CREATE TABLE taken (topic TEXT NOT NULL, partition INTEGER NOT NULL, position INTEGER NOT NULL, value BLOB,
                    wrong TEXT, PRIMARY KEY (topic, partition, position));
CREATE TABLE history (id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, what TEXT NOT NULL,
                      subject TEXT NOT NULL, doc TEXT NOT NULL);
"""
Doc = dict[str, Any]


class OperatorStore:
    """Documents by kind and id, messages, records taken from Kafka, and the history of changes.

    All statements run on the caller's thread.
    """

    def __init__(self, path: str | Path = ":memory:") -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        (layout,) = self._db.execute("PRAGMA user_version").fetchone()
        if layout == 0:
            self._db.executescript(f"BEGIN;{_TABLES}PRAGMA user_version = {LAYOUT};COMMIT;")
        elif layout != LAYOUT:
            self._db.close()
            raise ValueError(f"{path}: a twin's data of layout {layout}, this one writes {LAYOUT}; delete the file")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def run(self, sql: str, *values: Any) -> sqlite3.Cursor:
        """Execute; the cursor knows the inserted row and how many were changed."""
        return self._db.execute(sql, values)

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """All rows of a query."""
        return self._db.execute(sql, values).fetchall()

    def put(self, kind: str, id: int, doc: Doc) -> None:
        """Keep a document in place of the one that is there."""
        self.run("INSERT OR REPLACE INTO docs VALUES (?, ?, ?)", kind, id, json.dumps(doc, ensure_ascii=False))

    def get(self, kind: str, id: int) -> Doc | None:
        """A document with its ``id``."""
        found = self.rows("SELECT doc FROM docs WHERE kind = ? AND id = ?", kind, id)
        return {"id": id, **json.loads(found[0]["doc"])} if found else None

    def all(self, kind: str, **same: Any) -> list[Doc]:
        """The documents of a kind whose fields are the ``same``, by id."""
        also = "".join(f" AND json_extract(doc, '$.{name}') = ?" for name in same)
        rows = self.rows(f"SELECT id, doc FROM docs WHERE kind = ?{also} ORDER BY id", kind, *same.values())  # noqa: S608
        return [{"id": row["id"], **json.loads(row["doc"])} for row in rows]

    def next_id(self, kind: str, first: int) -> int:
        """The id of the next document of a kind."""
        (row,) = self.rows("SELECT max(id) AS most FROM docs WHERE kind = ?", kind)
        return first if row["most"] is None else row["most"] + 1

    def close(self) -> None:
        """Nothing can be asked after it."""
        self._db.close()
