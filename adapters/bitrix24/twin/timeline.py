"""Comments in a card's timeline: crm.timeline.comment.* (docs/contracts/bitrix24.md#comments)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from adapters.bitrix24.twin.errors import RestError
from adapters.bitrix24.twin.fields import PORTAL_ZONE, positive_int
from adapters.bitrix24.twin.leads import Leads
from adapters.bitrix24.twin.store import TwinStore
from adapters.bitrix24.twin.texts import cut, encoded


class Timeline:
    """Comments of leads, with BBCode as it came. As in the portal a repeat adds a second comment."""

    def __init__(
        self, store: TwinStore, leads: Leads, clock: Callable[[], float], notify: Callable[[str, int], None]
    ) -> None:
        self._store, self._leads, self._clock, self._notify = store, leads, clock, notify

    def add(self, fields: Mapping[str, Any]) -> int:
        """Add a comment, and return its id. Raises RestError."""
        if not {"ENTITY_ID", "ENTITY_TYPE", "COMMENT"} <= fields.keys():
            raise RestError("100", "Required fields: ENTITY_ID, ENTITY_TYPE, COMMENT")
        if not str(fields["COMMENT"] or "").strip():
            raise RestError("INVALID_ARG_VALUE", "Empty comment message")
        kind, owner = self._owner(fields)
        created = datetime.fromtimestamp(self._clock(), PORTAL_ZONE).isoformat(timespec="seconds")
        sql = "INSERT INTO comments (entity_type, entity_id, created, comment) VALUES (?, ?, ?, ?)"
        comment_id = self._store.add(sql, kind, owner, created, cut("COMMENT", encoded(str(fields["COMMENT"]))))
        self._notify("ONCRMTIMELINECOMMENTADD", comment_id)
        return comment_id

    def get(self, comment_id: int | None) -> dict[str, Any]:
        """Return one comment. Raises RestError if there is none."""
        row = self._store.row("SELECT * FROM comments WHERE id = ?", comment_id)
        if row is None:
            raise RestError("NOT_FOUND", "Not found")
        return _shown(row)

    def list(self, wanted: Mapping[str, Any], newest_first: bool) -> list[dict[str, Any]]:
        """Return the comments of one entity. Raises RestError."""
        kind, owner = self._owner({str(k).lstrip("="): v for k, v in wanted.items()})
        direction = "DESC" if newest_first else "ASC"
        sql = f"SELECT * FROM comments WHERE entity_type = ? AND entity_id = ? ORDER BY id {direction}"  # noqa: S608
        return [_shown(row) for row in self._store.rows(sql, kind, owner)]

    def _owner(self, fields: Mapping[str, Any]) -> tuple[str, int]:
        kind, owner = str(fields.get("ENTITY_TYPE", "")), positive_int(fields.get("ENTITY_ID"))
        if kind != "lead" or owner is None:
            raise RestError("OWNER_NOT_FOUND", "Owner not found")
        try:
            self._leads.doc(owner)
        except RestError:
            raise RestError("OWNER_NOT_FOUND", "Owner not found") from None
        return kind, owner


def _shown(row: Any) -> dict[str, Any]:
    return {
        "ID": str(row["id"]),
        "ENTITY_ID": str(row["entity_id"]),
        "ENTITY_TYPE": row["entity_type"],
        "CREATED": row["created"],
        "COMMENT": row["comment"],
        "AUTHOR_ID": "1",
        "FILES": [],  # an empty map of PHP
    }
