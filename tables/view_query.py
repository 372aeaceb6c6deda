"""SQL over several tables of the view, written in our own modules: read only, bounded in time and in rows.

    OF_CITY: Final = Query(
        "SELECT b.ext_id, p.name FROM estate_building b JOIN estate_project p ON p.ext_id = b.project_ext_id"
        " WHERE p.city_ext_id = :city ORDER BY b.ext_id LIMIT 100"
    )
    rows = view.ask(OF_CITY, city="c1")

A query names its columns, so that a later field changes no answer, and takes values as parameters.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.errors import QueryTooLarge
from tables.view_table import READ

STEPS: Final = 10_000
"""Instructions of SQLite's virtual machine between two checks of the clock, about 1 ms."""
ALLOWED: Final = frozenset(
    {
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_FUNCTION,
        sqlite3.SQLITE_RECURSIVE,
        sqlite3.SQLITE_TRANSACTION,
    }
)


@dataclass(frozen=True)
class Query:
    """A read-only query, for `View.ask`."""

    sql: str
    """One SELECT; parameters stand as ``:name``."""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """Kind of a column whose value SQLite has no type for: ``boolean``, ``decimal`` or ``array``. All others come as
    SQLite has them: a time is whole microseconds since 1970 in UTC."""
    most_rows: int = 1_000
    """Rows of an answer; a larger one is refused, never cut."""
    timeout_s: float = 1.0

    def run(self, db: sqlite3.Connection, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Returns the rows, by the names of their columns. Raises QueryTooLarge beyond its bounds, sqlite3.Error for
        SQL that is wrong or would write, TypeError if two columns have one name."""
        with within(db, self.timeout_s):
            cursor = db.execute(self.sql, values)
            names = [column[0] for column in cursor.description]
            if len(set(names)) < len(names):
                raise TypeError(f"two columns of the query have one name: {', '.join(names)}")
            rows = cursor.fetchmany(self.most_rows + 1)
        if len(rows) > self.most_rows:
            raise QueryTooLarge(f"the answer has more than {self.most_rows} rows")
        made = [READ.get(self.kinds.get(name, "")) for name in names]
        return [
            {
                name: value if value is None or make is None else make(value)
                for name, value, make in zip(names, row, made, strict=True)
            }
            for row in rows
        ]


@contextmanager
def within(db: sqlite3.Connection, timeout_s: float) -> Iterator[None]:
    """Raises QueryTooLarge if a query of ``db`` inside takes longer than ``timeout_s`` seconds."""
    until = time.monotonic() + timeout_s
    db.set_progress_handler(lambda: time.monotonic() > until, STEPS)
    try:
        yield
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorname", "") != "SQLITE_INTERRUPT":
            raise
        raise QueryTooLarge(f"it took longer than {timeout_s:g} s") from None
    finally:
        db.set_progress_handler(None, 0)


def read_only(db: sqlite3.Connection) -> sqlite3.Connection:
    """Returns the connection, which can only read from now on: other statements are not even compiled."""
    db.execute("PRAGMA query_only = ON")
    db.set_authorizer(_authorize)
    return db


def _authorize(action: int, what: str | None, *_: str | None) -> int:
    # The text index asks for the version of its data, and SQLite compiles its declaration as a change of the schema; a
    # real one fails on `query_only`.
    is_index = (action, what) in ((sqlite3.SQLITE_PRAGMA, "data_version"), (sqlite3.SQLITE_UPDATE, "sqlite_master"))
    return sqlite3.SQLITE_OK if is_index or action in ALLOWED else sqlite3.SQLITE_DENY
