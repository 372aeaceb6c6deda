"""ORIGIN_ID of our leads in a portal: how it is made, and whose lead it names."""

from __future__ import annotations

import hashlib
from typing import Final

from adapters.bitrix24.markup import COLUMN
from schemas.bitrix24 import CardChanged
from schemas.record import contract

HASHED: Final = "sha256:"
TOPICS: Final = {"abonent": "domofon.abonent"}
"""Topics by the first word of an ORIGIN_ID, where that is not the topic itself
(docs/contracts/rosdomofon.md#mapping-to-bitrix24)."""


def origin_of(aggregate: str, ext_id: str) -> str:
    """ORIGIN_ID: ``<aggregate>:<ext_id>``, or its hash where the portal would cut it and take two leads for one."""
    plain = f"{aggregate}:{ext_id}"
    if len(plain) <= COLUMN:
        return plain
    return f"{aggregate}:{HASHED}{hashlib.sha256(ext_id.encode()).hexdigest()}"


def owner(origin_id: str) -> tuple[str, str] | None:
    """Topic and ext_id of whose lead it is by its ORIGIN_ID, None if nothing of ours is told of its changes."""
    name, _, ext_id = origin_id.partition(":")
    topic = TOPICS.get(name, name)
    known = ext_id and not ext_id.startswith(HASHED) and topic in contract(CardChanged).topics
    return (topic, ext_id) if known else None
