"""What a twin remembers: one SQLite database, in memory or in a file that survives restarts."""

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
    """Tables that a reset leaves alone."""

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
        """Add what a twin has from the start, where it is missing."""

    def reset(self) -> None:
        """Forget everything but `lasting` tables; ids begin again."""
        with self.transaction():
            for (name,) in self.rows("SELECT name FROM sqlite_master WHERE type = 'table'"):
                if name not in self.lasting:
                    self.run(f"DELETE FROM {name}")  # noqa: S608 - a table of ours
            self.fill()

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

    def add(self, sql: str, *values: Any) -> int:
        """Insert one row. Returns its id."""
        return self.run(sql, *values).lastrowid or 0

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """All rows of a query."""
        return self.run(sql, *values).fetchall()

    def row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        """The first row of a query."""
        found: sqlite3.Row | None = self.run(sql, *values).fetchone()
        return found

    def close(self) -> None:
        """Nothing can be asked after it."""
        self._db.close()
