"""A copy of the main backend's numbered log in a SQLite file, with the Kafka offset that it stands at.

Rows and offset go in one transaction, so after a crash copying resumes behind the last row. A client of the log is a
number in it: pages are read by the primary key.
"""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from loguru import logger

from schemas.errors import BrokenSetup

FORM: Final = 1
"""Version of the file; one of another version is copied again."""
PAGE_EVENTS: Final = 500
PAGE_BYTES: Final = 256_000
"""Bytes of the frames of a page, above which it ends; a page has one frame at least."""
DDL: Final = (
    "CREATE TABLE IF NOT EXISTS events (update_id INTEGER PRIMARY KEY, type TEXT NOT NULL, frame TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT)",
)


class Logged(NamedTuple):
    """An event: its number, its wire type, and the inner ``data`` of its frame."""

    update_id: int
    type: str
    frame: str


class EventLog:
    """The file, owned by one process. One thread may write, any thread may read. Raises BrokenSetup if it is in use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = path.with_suffix(".lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise BrokenSetup(
                f"another process copies the log to {path}",
                hint="Give each `kounter backend` a KOUNTER_DATA_DIR of its own.",
            ) from None
        if not self._is_usable():
            logger.info("the copy of the log {} is of another version or broken: copying it again", path)
            self._delete()
        self._writer = self._connect()
        self._create()
        self.last = self._number("SELECT max(update_id) FROM events")
        """The last number of the copy, 0 for an empty one."""

    def close(self) -> None:
        """Close the file for good, after all reads have ended."""
        for db in self._open:
            db.close()
        self._lock.close()

    @property
    def offset(self) -> int:
        """Returns the Kafka offset that is copied next."""
        return self._number("SELECT value FROM about WHERE name = 'offset'")

    def belongs_to(self, cluster: str) -> bool:
        """Returns whether the copy is of this Kafka cluster; a new one adopts the first."""
        with self._writer as db:
            db.execute("INSERT OR IGNORE INTO about VALUES ('cluster', ?)", (cluster,))
            return bool(db.execute("SELECT value FROM about WHERE name = 'cluster'").fetchone()[0] == cluster)

    def append(self, events: Sequence[Logged], offset: int) -> None:
        """Write events and the offset behind them in one transaction. Raises BrokenSetup for a number that does not
        follow the last one: clients must never see a gap or a repeat."""
        for n, event in enumerate(events, self.last + 1):
            if event.update_id != n:
                raise BrokenSetup(
                    f"the log has {event.update_id} where {n} must stand, before offset {offset}",
                    hint="Its topic was made again or written to by another program; give it another Kafka topic.",
                )
        with self._writer as db:
            db.executemany("INSERT INTO events VALUES (?, ?, ?)", events)
            db.execute("INSERT OR REPLACE INTO about VALUES ('offset', ?)", (offset,))
        if events:
            self.last = events[-1].update_id

    def page(self, after: int) -> list[Logged]:
        """Returns the next events above a number: at most `PAGE_EVENTS`, and not much over `PAGE_BYTES`."""
        size, found = 0, []
        for row in self._rows(after):
            found.append(Logged(*row))
            size += len(row[2])
            if size >= PAGE_BYTES:
                break
        return found

    def reset(self, cluster: str) -> None:
        """Forget all rows: the log is another one."""
        with self._writer as db:
            db.execute("DELETE FROM events")
            db.execute("DELETE FROM about")
            db.execute("INSERT INTO about VALUES ('cluster', ?)", (cluster,))
        self.last = 0

    def _rows(self, after: int) -> Iterable[tuple[int, str, str]]:
        query = "SELECT update_id, type, frame FROM events WHERE update_id > ? ORDER BY update_id LIMIT ?"
        return self._reader().execute(query, (after, PAGE_EVENTS))

    def _number(self, query: str) -> int:
        row = self._reader().execute(query).fetchone()
        return 0 if row is None or row[0] is None else int(row[0])

    def _reader(self) -> sqlite3.Connection:
        """Returns this thread's connection."""
        if not hasattr(self._local, "db"):
            self._local.db = self._connect()
        db: sqlite3.Connection = self._local.db
        return db

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, check_same_thread=False, timeout=30)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # a power loss may cost the last rows and their offset together
        self._open.append(db)
        return db

    def _create(self) -> None:
        self._writer.execute(f"PRAGMA user_version = {FORM}")
        for statement in DDL:
            self._writer.execute(statement)

    def _is_usable(self) -> bool:
        if not self._path.exists():
            return True
        try:
            db = sqlite3.connect(self._path)
            try:
                return bool(db.execute("PRAGMA user_version").fetchone()[0] == FORM)
            finally:
                db.close()
        except sqlite3.DatabaseError:
            return False

    def _delete(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
