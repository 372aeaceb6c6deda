"""The storage of a twin: one SQLite database, in memory or in a file that survives restarts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar


class TwinMemory:
    """Base of each twin's tables. All statements run on the caller's thread."""

    layout: ClassVar[int]
    """Rises with the tables; a file of another layout is refused."""
    tables: ClassVar[str]
    lasting: ClassVar[tuple[str, ...]] = ()
    """Tables that a reset does not empty."""

    def __init__(self, path: str | Path = ":memory:") -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        (found,) = self._db.execute("PRAGMA user_version").fetchone()
        if found == 0:
            self._db.executescript(f"BEGIN;{self.tables}PRAGMA user_version = {self.layout};COMMIT;")
        elif found != self.layout:
            self._db.close()
            raise ValueError(f"{path}: a twin's data of layout {found}, this one writes {self.layout}; delete the file")
        with self.transaction():
            self.fill()

    def fill(self) -> None:
        """Add the initial rows that are missing."""

    def reset(self) -> None:
        """Empty all tables but the `lasting` ones; ids begin again."""
        with self.transaction():
            for (name,) in self.rows("SELECT name FROM sqlite_master WHERE type = 'table'"):
                if name not in self.lasting:
                    self.run(f"DELETE FROM {name}")  # noqa: S608 - our own table
            self.fill()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all statements of the block, or none."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def run(self, sql: str, *values: Any) -> sqlite3.Cursor:
        """Execute a statement. Returns the cursor, with the id of the inserted row and the number of changed rows."""
        return self._db.execute(sql, values)

    def add(self, sql: str, *values: Any) -> int:
        """Insert one row. Returns its id."""
        return self.run(sql, *values).lastrowid or 0

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """Return all rows of a query."""
        return self.run(sql, *values).fetchall()

    def row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        """Return the first row of a query, None if there is none."""
        found: sqlite3.Row | None = self.run(sql, *values).fetchone()
        return found

    def close(self) -> None:
        """Close the database; no query is possible afterwards."""
        self._db.close()
