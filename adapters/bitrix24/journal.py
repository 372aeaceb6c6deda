"""The journal of accepted events on disk: a portal sends each once, and a restart must lose none
(docs/contracts/bitrix24.md#events)."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from loguru import logger

from adapters.bitrix24.webhook import HookEvent, HookName

COLUMNS: Final = "name TEXT, id INTEGER, ts INTEGER, known TEXT, PRIMARY KEY (name, id)"


Key = tuple[HookName, int]


class Noted(NamedTuple):
    """An event in the journal."""

    event: HookEvent
    known: list[Any] | None = None
    """The last state of a deleted lead, which the portal can't be asked for afterwards."""


class Journal:
    """A file that only its owner can read. It holds the events that wait, whose number its user bounds.

    A broken file is put aside, and a new one begun: no event can be accepted without one. Raises
    sqlite3.OperationalError for a file that can't be opened now.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._database = _open(path)
        except sqlite3.OperationalError:  # locked, or no space: the file itself may be whole
            raise
        except sqlite3.DatabaseError as error:
            broken = _put_aside(path)
            logger.error("bitrix24: events that waited can't be read ({}), they are put aside as {}", error, broken)
            self._database = _open(path)
        self._waiting: list[Noted] = []
        self._writing = asyncio.Lock()

    def read(self) -> list[Noted]:
        """Return the events that wait, the oldest first."""
        rows = self._database.execute("SELECT name, id, ts, known FROM event ORDER BY rowid")
        return [Noted(HookEvent(HookName(n), i, ts), json.loads(known) if known else None) for n, i, ts, known in rows]

    async def keep(self, noted: Noted) -> None:
        """Write an event, and return when it is on disk. Events that arrive during a write go together in the next.

        Raises sqlite3.Error.
        """
        self._waiting.append(noted)
        async with self._writing:
            batch, self._waiting = self._waiting, []
            try:
                if batch:  # otherwise the holder of the lock before wrote it, too
                    await asyncio.to_thread(self._write, batch)
            except sqlite3.Error:
                self._waiting = [other for other in batch if other is not noted] + self._waiting
                raise

    async def forget(self, keys: Iterable[Key]) -> None:
        """Remove processed events. Raises sqlite3.Error."""
        async with self._writing:
            await asyncio.to_thread(self._remove, list(keys))

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _write(self, batch: list[Noted]) -> None:
        rows = [(*noted.event, json.dumps(noted.known) if noted.known else None) for noted in batch]
        with self._database:
            self._database.executemany("INSERT OR REPLACE INTO event VALUES (?, ?, ?, ?)", rows)

    def _remove(self, keys: list[Key]) -> None:
        with self._database:
            self._database.executemany("DELETE FROM event WHERE name = ? AND id = ?", keys)


def _open(path: Path) -> sqlite3.Connection:
    """Open a file, or make one. Raises sqlite3.DatabaseError if it is broken anywhere."""
    os.close(os.open(path, os.O_CREAT, 0o600))
    path.chmod(0o600)
    database = sqlite3.connect(path, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute(f"CREATE TABLE IF NOT EXISTS event ({COLUMNS})")
        ((found,),) = database.execute("PRAGMA quick_check(1)")
        if found != "ok":
            raise sqlite3.DatabaseError(found)
    except sqlite3.Error:
        database.close()
        raise
    return database


def _put_aside(path: Path) -> Path:
    """Rename a broken file together with its write-ahead log, which would be read into the new file."""
    broken = path.with_suffix(".broken")
    for end in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + end).replace(broken.with_name(broken.name + end))
    return broken
