"""ORIGIN_ID of our leads in a portal, and the owner that it names (docs/contracts/bitrix24.md#idempotency)."""

from __future__ import annotations

import hashlib
from typing import Final

from adapters.bitrix24.markup import COLUMN
from schemas.bitrix24 import CardChanged
from schemas.record import contract

HASHED: Final = "sha256:"
TOPICS: Final = {"abonent": "domofon.abonent"}
"""Topics by the first part of an ORIGIN_ID, where that is not the topic itself
(docs/contracts/rosdomofon.md#mapping-to-bitrix24)."""


def origin_of(aggregate: str, ext_id: str) -> str:
    """Return ``<aggregate>:<ext_id>``, or its hash if it is longer than the portal's column."""
    plain = f"{aggregate}:{ext_id}"
    if len(plain) <= COLUMN:
        return plain
    return f"{aggregate}:{HASHED}{hashlib.sha256(ext_id.encode()).hexdigest()}"


def owner(origin_id: str) -> tuple[str, str] | None:
    """Return topic and ext_id of the lead's owner; None if no topic takes its changes."""
    name, _, ext_id = origin_id.partition(":")
    topic = TOPICS.get(name, name)
    known = ext_id and not ext_id.startswith(HASHED) and topic in contract(CardChanged).topics
    return (topic, ext_id) if known else None
