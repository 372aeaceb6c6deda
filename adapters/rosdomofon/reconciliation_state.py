"""State of the reconciliation: a digest of each record that it sent, and the messages that came over Kafka lately.

It is a SQLite file. If it is lost, all records of the operator's REST are sent again, which changes nothing, and only
messages after that are compared.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from loguru import logger

from schemas.domofon import Message
from schemas.record import contract

MOST_CAME: Final = 2_000_000
"""Messages that are kept; beyond it the oldest are dropped, and messages before that time are no longer compared."""
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS begun (at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS sent (kind TEXT, ext_id TEXT, digest BLOB, PRIMARY KEY (kind, ext_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS came (ext_id TEXT PRIMARY KEY, abonent TEXT, digest BLOB, at REAL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS came_at ON came (at);
CREATE INDEX IF NOT EXISTS came_abonent ON came (abonent, at);
CREATE TABLE IF NOT EXISTS looked (abonent TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS looked_until ON looked (until);
"""


class Known:
    """The state in one data folder, used by one process at a time. Times are in seconds since the epoch."""

    def __init__(self, path: Path) -> None:
        """Open the file; a file that is broken or not a database is replaced by an empty one.

        Raises sqlite3.OperationalError if the file is locked or the disk is full.
        """
        try:
            self._db = _open(path)
        except sqlite3.OperationalError:  # locked, or no space: nothing is wrong with it
            raise
        except sqlite3.DatabaseError as error:
            logger.warning("rosdomofon comparison: {} is replaced by an empty file: {}", path, error)
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            self._db = _open(path)
        now = time.time()
        self._db.execute("INSERT INTO begun SELECT ? WHERE NOT EXISTS (SELECT * FROM begun)", (now,))
        # Times of a clock that was set back since: until they are over, nothing would be compared.
        self._db.execute("UPDATE begun SET at = ? WHERE at > ?", (now, now))
        self._db.execute("UPDATE looked SET until = 0 WHERE until > ?", (now,))
        self.begun: float = self._db.execute("SELECT at FROM begun").fetchone()[0]
        """Time since which all messages that came are known."""

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def differs(self, row: Any) -> bool:
        """Return whether a record differs from the last one sent with its type and id, or is the first."""
        sent = self._db.execute("SELECT digest FROM sent WHERE kind = ? AND ext_id = ?", _name(row)).fetchone()
        return sent is None or sent[0] != _digest(repr(row))

    def sent(self, rows: Iterable[Any]) -> None:
        """Note records that Kounter's cluster has acknowledged."""
        self._many("INSERT OR REPLACE INTO sent VALUES (?, ?, ?)", [(*_name(row), _digest(repr(row))) for row in rows])

    def came(self, messages: Iterable[Message]) -> None:
        """Note messages that came over Kafka, and their senders."""
        rows = [
            (m.ext_id, m.abonent_ext_id, _digest(m.text or ""), (m.said_at or 0) / 1e6)
            for m in messages
        ]  # fmt: skip
        self._many("INSERT OR IGNORE INTO came VALUES (?, ?, ?, ?)", rows)
        self.met({m.abonent_ext_id for m in messages if m.abonent_ext_id})

    def met(self, abonents: Iterable[str]) -> None:
        """Add abonents whose histories are to be read."""
        self._many("INSERT OR IGNORE INTO looked VALUES (?, 0)", [(abonent,) for abonent in abonents])

    def due(self, most: int) -> list[tuple[str, float]]:
        """Return at most ``most`` abonents whose histories are to be read, each with the time to read from.

        Those who wrote since then come first, then those who have waited longest.
        """
        wrote = "EXISTS (SELECT 1 FROM came WHERE came.abonent = looked.abonent AND came.at >= looked.until)"
        sql = f"SELECT abonent, until FROM looked ORDER BY {wrote} DESC, until LIMIT ?"  # noqa: S608
        return list(self._db.execute(sql, (most,)))

    def looked(self, abonents: Iterable[str], until: float) -> None:
        """Note that these abonents' histories were compared up to a time."""
        self._many("INSERT OR REPLACE INTO looked VALUES (?, ?)", [(abonent, until) for abonent in abonents])

    def forget(self, before: float) -> None:
        """Drop messages that came before a time, and the oldest beyond `MOST_CAME`."""
        self._db.execute("DELETE FROM came WHERE at < ?", (before,))
        over = self._db.execute("SELECT at FROM came ORDER BY at DESC LIMIT 1 OFFSET ?", (MOST_CAME,)).fetchone()
        if over is not None:
            self._db.execute("DELETE FROM came WHERE at <= ?", over)
            self._db.execute("UPDATE begun SET at = max(at, ?)", over)
            self.begun = max(self.begun, over[0])

    def times(self, abonent: str, text: str, since: float) -> list[float]:
        """Return the times at which an abonent's messages with this text came, the earliest first."""
        sql = "SELECT at FROM came WHERE abonent = ? AND digest = ? AND at >= ? ORDER BY at"
        return [row[0] for row in self._db.execute(sql, (abonent, _digest(text), since))]

    def _many(self, sql: str, rows: list[tuple[Any, ...]]) -> None:
        with self._db:  # commits, or rolls back if a row fails; a full disk has ended the transaction already
            self._db.execute("BEGIN")
            self._db.executemany(sql, rows)


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")  # a power loss may cost the last rows, and not the file
        db.executescript(_TABLES)
    except BaseException:
        db.close()
        raise
    return db


def _name(row: Any) -> tuple[str, str]:
    return contract(type(row)).name, row.ext_id


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
