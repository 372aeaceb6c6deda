"""Events that were taken and are not looked at yet, on disk: a portal sends each once, and a restart must lose none."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from loguru import logger

from adapters.bitrix24.webhook import HookEvent, HookName

COLUMNS: Final = "name TEXT, id INTEGER, ts INTEGER, known TEXT, PRIMARY KEY (name, id)"


Key = tuple[HookName, int]


class Noted(NamedTuple):
    """``known``: what was known of the lead when it was deleted, as the portal can't be asked for it afterwards."""

    event: HookEvent
    known: list[Any] | None = None


class Journal:
    """A file that only its owner reads. It holds no more than what waits: whoever adds to it bounds it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._database = _open(path)
        except sqlite3.DatabaseError as error:
            broken = path.with_suffix(".broken")
            path.replace(broken)
            logger.error("bitrix24: events that waited can't be read ({}), they are put aside as {}", error, broken)
            self._database = _open(path)
        self._waiting: list[Noted] = []
        self._writing = asyncio.Lock()

    def read(self) -> list[Noted]:
        """All that wait, the oldest first."""
        rows = self._database.execute("SELECT name, id, ts, known FROM event ORDER BY rowid")
        return [Noted(HookEvent(HookName(n), i, ts), json.loads(known) if known else None) for n, i, ts, known in rows]

    async def keep(self, noted: Noted) -> None:
        """Returns when it is safe. What comes meanwhile is written together: each write waits for the disk.

        Raises sqlite3.Error.
        """
        self._waiting.append(noted)
        async with self._writing:
            batch, self._waiting = self._waiting, []
            try:
                if batch:  # else who had the lock before wrote it, too
                    await asyncio.to_thread(self._write, batch)
            except sqlite3.Error:
                self._waiting = [other for other in batch if other is not noted] + self._waiting
                raise

    async def forget(self, keys: Iterable[Key]) -> None:
        """These are done. Raises sqlite3.Error."""
        async with self._writing:
            await asyncio.to_thread(self._remove, list(keys))

    def close(self) -> None:
        self._database.close()

    def _write(self, batch: list[Noted]) -> None:
        rows = [(*noted.event, json.dumps(noted.known) if noted.known else None) for noted in batch]
        with self._database:
            self._database.executemany("INSERT OR REPLACE INTO event VALUES (?, ?, ?, ?)", rows)

    def _remove(self, keys: list[Key]) -> None:
        with self._database:
            self._database.executemany("DELETE FROM event WHERE name = ? AND id = ?", keys)


def _open(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT, 0o600))
    path.chmod(0o600)
    database = sqlite3.connect(path, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute(f"CREATE TABLE IF NOT EXISTS event ({COLUMNS})")
    return database
