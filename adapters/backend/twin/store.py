"""The twin's database: things by type and id, and all that was taken, in its order."""

from __future__ import annotations

import json
from typing import Any

from adapters.twin_kit.storage import TwinMemory


class BackendStore(TwinMemory):
    """The things of one backend."""

    layout = 1
    tables = """
        CREATE TABLE things (type TEXT, id TEXT, doc TEXT NOT NULL, PRIMARY KEY (type, id));
        CREATE TABLE taken (n INTEGER PRIMARY KEY, type TEXT NOT NULL, id TEXT NOT NULL, update_id INTEGER);
    """

    def put(self, type: str, id: str, doc: dict[str, Any], update_id: int | None = None) -> None:
        """Write a thing whole: what the document leaves out is emptied. ``update_id`` is its number in the log."""
        self.run("INSERT OR REPLACE INTO things VALUES (?, ?, ?)", type, id, json.dumps(doc, ensure_ascii=False))
        self.run("INSERT INTO taken (type, id, update_id) VALUES (?, ?, ?)", type, id, update_id)

    def get(self, type: str, id: str) -> dict[str, Any] | None:
        """Return a thing, None if there is none."""
        row = self.row("SELECT doc FROM things WHERE type = ? AND id = ?", type, id)
        found: dict[str, Any] | None = None if row is None else json.loads(row["doc"])
        return found

    def taken(self) -> list[tuple[str, str]]:
        """Return type and id of all that was taken, in its order."""
        return [(row["type"], row["id"]) for row in self.rows("SELECT type, id FROM taken ORDER BY n")]

    @property
    def last(self) -> int:
        """The highest number that was taken from the log."""
        row = self.row("SELECT max(update_id) AS last FROM taken")
        return 0 if row is None else row["last"] or 0
