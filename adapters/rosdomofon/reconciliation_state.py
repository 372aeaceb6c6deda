"""What the comparison remembers: a digest of each record that it sent, and what came over Kafka lately.

A SQLite file. If it is lost, all that the operator's REST has is sent once more, which changes nothing, and messages
are only compared from then on.
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
"""Messages that are remembered; of those before nothing is known any more."""
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
    """Of one data folder; used by one process at a time."""

    def __init__(self, path: Path) -> None:
        """A file that is none of ours, or broken, is begun anew."""
        try:
            self._db = _open(path)
        except sqlite3.OperationalError:  # locked, or no space: nothing is wrong with it
            raise
        except sqlite3.DatabaseError as error:
            logger.warning("rosdomofon comparison: {} is begun anew: {}", path, error)
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            self._db = _open(path)
        now = time.time()
        self._db.execute("INSERT INTO begun SELECT ? WHERE NOT EXISTS (SELECT * FROM begun)", (now,))
        # Moments of a clock that was set back since: until they are over, nothing would be looked at.
        self._db.execute("UPDATE begun SET at = ? WHERE at > ?", (now, now))
        self._db.execute("UPDATE looked SET until = 0 WHERE until > ?", (now,))
        self.begun: float = self._db.execute("SELECT at FROM begun").fetchone()[0]
        """Seconds since the epoch: of what was before, nothing is known."""

    def close(self) -> None:
        self._db.close()

    def differs(self, row: Any) -> bool:
        """Whether a record says something else than the last one of its thing, or is the first."""
        known = self._db.execute("SELECT digest FROM sent WHERE kind = ? AND ext_id = ?", _name(row)).fetchone()
        return known is None or known[0] != _digest(repr(row))

    def sent(self, rows: Iterable[Any]) -> None:
        """These are safe on our cluster."""
        self._many("INSERT OR REPLACE INTO sent VALUES (?, ?, ?)", [(*_name(row), _digest(repr(row))) for row in rows])

    def came(self, messages: Iterable[Message]) -> None:
        """These came over Kafka."""
        rows = [
            (m.ext_id, m.abonent_ext_id, _digest(m.text or ""), (m.said_at or 0) / 1e6)
            for m in messages
        ]  # fmt: skip
        self._many("INSERT OR IGNORE INTO came VALUES (?, ?, ?, ?)", rows)
        self.met({m.abonent_ext_id for m in messages if m.abonent_ext_id})

    def met(self, abonents: Iterable[str]) -> None:
        """There are these, too."""
        self._many("INSERT OR IGNORE INTO looked VALUES (?, 0)", [(abonent,) for abonent in abonents])

    def due(self, most: int) -> list[tuple[str, float]]:
        """Whose history is to be looked at next, and from when on: who wrote since then, then who waited longest."""
        wrote = "EXISTS (SELECT 1 FROM came WHERE came.abonent = looked.abonent AND came.at >= looked.until)"
        sql = f"SELECT abonent, until FROM looked ORDER BY {wrote} DESC, until LIMIT ?"  # noqa: S608
        return list(self._db.execute(sql, (most,)))

    def looked(self, abonents: Iterable[str], until: float) -> None:
        """Their histories hold nothing else, up to a moment."""
        self._many("INSERT OR REPLACE INTO looked VALUES (?, ?)", [(abonent, until) for abonent in abonents])

    def forget(self, before: float) -> None:
        """What came before a moment, and what is too much."""
        self._db.execute("DELETE FROM came WHERE at < ?", (before,))
        over = self._db.execute("SELECT at FROM came ORDER BY at DESC LIMIT 1 OFFSET ?", (MOST_CAME,)).fetchone()
        if over is not None:
            self._db.execute("DELETE FROM came WHERE at <= ?", over)
            self._db.execute("UPDATE begun SET at = max(at, ?)", over)
            self.begun = max(self.begun, over[0])

    def times(self, abonent: str, text: str, since: float) -> list[float]:
        """When an abonent's messages of these words came, the earliest first."""
        sql = "SELECT at FROM came WHERE abonent = ? AND digest = ? AND at >= ? ORDER BY at"
        return [row[0] for row in self._db.execute(sql, (abonent, _digest(text), since))]

    def _many(self, sql: str, rows: list[tuple[Any, ...]]) -> None:
        self._db.execute("BEGIN")
        try:
            self._db.executemany(sql, rows)
        finally:
            self._db.execute("COMMIT")


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
