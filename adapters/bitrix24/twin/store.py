"""The twin's state: one SQLite database, in memory or in a file that survives restarts."""

from __future__ import annotations

import json
import secrets
from typing import Any, Final

from adapters.twin_kit.storage import TwinMemory

LAYOUT: Final = 1

_TABLES: Final = """
CREATE TABLE leads (id INTEGER PRIMARY KEY AUTOINCREMENT, doc TEXT NOT NULL, born_origin TEXT,
                    deleted INTEGER NOT NULL DEFAULT 0);
CREATE INDEX leads_origin ON leads (json_extract(doc, '$.ORIGIN_ID') COLLATE NOCASE);
CREATE INDEX leads_born ON leads (born_origin);
CREATE TABLE multifields (id INTEGER PRIMARY KEY AUTOINCREMENT, lead_id INTEGER NOT NULL, type_id TEXT NOT NULL,
                          value_type TEXT NOT NULL, value TEXT NOT NULL, sought TEXT NOT NULL);
CREATE INDEX multifields_lead ON multifields (lead_id);
CREATE INDEX multifields_sought ON multifields (type_id, sought);
CREATE TABLE history (id INTEGER PRIMARY KEY AUTOINCREMENT, lead_id INTEGER NOT NULL, at TEXT NOT NULL,
                      action TEXT NOT NULL, author TEXT NOT NULL, changes TEXT NOT NULL);
CREATE INDEX history_lead ON history (lead_id);
CREATE TABLE comments (id INTEGER PRIMARY KEY AUTOINCREMENT, entity_type TEXT NOT NULL, entity_id INTEGER NOT NULL,
                       created TEXT NOT NULL, comment TEXT NOT NULL);
CREATE INDEX comments_entity ON comments (entity_type, entity_id);
CREATE TABLE statuses (id INTEGER PRIMARY KEY AUTOINCREMENT, entity_id TEXT NOT NULL, status_id TEXT NOT NULL,
                       name TEXT NOT NULL, sort INTEGER NOT NULL, system TEXT NOT NULL, semantics TEXT,
                       UNIQUE (entity_id, status_id));
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""

_STATUSES: Final = (
    ("STATUS", "NEW", "Не обработан", 10, "Y", None),
    ("STATUS", "IN_PROCESS", "В работе", 20, "N", None),
    ("STATUS", "PROCESSED", "Обработан", 30, "N", None),
    ("STATUS", "CONVERTED", "Качественный лид", 40, "Y", "S"),
    ("STATUS", "JUNK", "Некачественный лид", 50, "Y", "F"),
    ("SOURCE", "CALL", "Звонок", 10, "N", None),
    ("SOURCE", "EMAIL", "Электронная почта", 20, "N", None),
    ("SOURCE", "WEB", "Веб-сайт", 30, "N", None),
    ("SOURCE", "ADVERTISING", "Реклама", 40, "N", None),
    ("SOURCE", "PARTNER", "Существующий клиент", 50, "N", None),
    ("SOURCE", "OTHER", "Другое", 60, "N", None),
)
"""Stages and sources of a new portal (docs/contracts/bitrix24.md#stages)."""


class TwinStore(TwinMemory):
    """The tables of the twin, and a few settings of the portal by name."""

    layout, tables = LAYOUT, _TABLES

    def fill(self) -> None:
        """Add the stages and sources of a new portal."""
        sql = "INSERT INTO statuses (entity_id, status_id, name, sort, system, semantics) VALUES (?, ?, ?, ?, ?, ?)"
        if self.row("SELECT id FROM statuses") is None:
            self._db.executemany(sql, _STATUSES)
        if self.noted("twin") is None:  # also in a file of an earlier version
            self.note("twin", secrets.token_hex(4))

    def note(self, name: str, value: Any) -> None:
        """Keep a setting of the portal."""
        self.run("INSERT OR REPLACE INTO notes VALUES (?, ?)", name, json.dumps(value))

    def noted(self, name: str, default: Any = None) -> Any:
        """Return a setting of the portal."""
        found = self.row("SELECT value FROM notes WHERE name = ?", name)
        return default if found is None else json.loads(found["value"])
