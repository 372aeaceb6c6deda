"""The collections that the gateway serves: what the shell tells it of each aggregate."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Protocol

from pydantic import BaseModel, Field, StringConstraints
from pydantic.json_schema import SkipJsonSchema

from schemas.errors import InvalidInput

Document = dict[str, Any]
VERDICTS: Final = ("applied", "duplicate", "stale", "deleted", "unreadable", "dead-letter")
ABSENT: Final[Any] = Annotated[None, SkipJsonSchema()]  # type: ignore[type-arg]
"""Of a field that is left out where it has no value; null never comes."""
CURSOR: Final = "^[A-Za-z0-9_-]+$"
Cursor = Annotated[str, StringConstraints(min_length=1, max_length=2_000, pattern=CURSOR)] | SkipJsonSchema[None]
"""Where a list goes on; None: at its beginning."""


@dataclass(frozen=True)
class Resource:
    """One aggregate as a collection: ``/api/estate/leads``."""

    topic: str
    """``estate.lead``"""
    path: str
    """``/api/estate/leads``"""
    names: tuple[str, str]
    """Of one and of many, in the names of operations: ``estate_lead``, ``estate_leads``."""
    model: type[BaseModel]
    """Of one answer; named as the thing is."""
    filters: Mapping[str, dict[str, Any]]
    """Fields that a list can be filtered by, each with its JSON Schema."""
    orders: tuple[str, ...]
    """What a list can be sorted by."""
    summary: str
    """What such a thing is."""


class Reader(Protocol):
    """What the gateway asks; given by the shell, so that the gateway knows neither table nor Kafka."""

    async def get(self, topic: str, ext_id: str, *, personal: bool, as_of: str | None = None) -> Document | None:
        """What is known, or was at a time. Raises InvalidInput for a time that is none."""

    async def find(
        self,
        topic: str,
        filters: Mapping[str, str],
        *,
        limit: int,
        after: Sequence[Any] | None,
        order: str,
        personal: bool,
    ) -> tuple[list[Document], Sequence[Any] | None]:
        """Rows, and the place after the last one if there are more. Raises InvalidInput for an unknown filter."""

    async def timeline(self, topic: str, ext_id: str, *, personal: bool, as_of: str | None = None) -> list[Document]:
        """The records of a thing, up to a time."""

    async def health(self) -> Health: ...


class TimelineEntry(BaseModel):
    """A record of a thing: what it changed, or why it changed nothing."""

    time: str
    """ISO 8601"""
    record: str
    """Its type: ``LeadOp``, ``tombstone``, ``unreadable``."""
    source: str
    id: str
    partition: int
    offset: int
    verdict: Annotated[str, Field(json_schema_extra={"enum": list(VERDICTS)})]
    changed: dict[str, list[Any]]
    """Before and after, by field."""
    version: int | SkipJsonSchema[None] = None
    error: str | SkipJsonSchema[None] = None
    """Why it can't be read, or became a dead letter."""
    reason: str | SkipJsonSchema[None] = None
    """Of a dead letter, as are the next ones."""
    letter: str | SkipJsonSchema[None] = None
    """Its id: `kounter dead-letters show`."""
    put_back: str | SkipJsonSchema[None] = None
    """When it was put back on its topic."""
    again: str | SkipJsonSchema[None] = None
    """The dead letter that it then became."""


class Unreadable(BaseModel):
    """A batch of records that can't be unpacked, at which a partition stands."""

    topic: str
    partition: int
    offset: int
    """The first that can't be read."""
    last: int
    """The batch's last."""
    cause: str
    hint: str


class DomainHealth(BaseModel):
    """Of a domain's workers."""

    workers: int
    assigned: bool
    """Every partition has a worker."""
    recovered: bool
    """No rebalance is under way, as Kafka tells; a worker that still loads its state shows as not progressing."""
    progressing: bool
    """Nothing waits, or what waits is being folded."""
    lag_records: int
    lag_seconds: float


class Health(BaseModel):
    """Of the gateway and what it shows."""

    live: bool = True
    ready: bool
    """The view is fed, every domain is assigned, recovered and progressing, and nothing stands."""
    view_behind: int | None = None
    """Records that the view lacks; none before it looked."""
    unreadable: list[Unreadable] = Field(default_factory=list)
    """Where workers, deliveries, the Nest bridge and the view stand, until somebody passes over."""
    domains: dict[str, DomainHealth] = Field(default_factory=dict)


def encode_cursor(order: str, place: Sequence[Any]) -> str:
    """An opaque place in a list of that order."""
    return base64.urlsafe_b64encode(json.dumps([order, *place]).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, order: str) -> list[Any]:
    """The place again. Raises InvalidInput for anything that `encode_cursor` did not make for this order."""
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        found = None
    if not (isinstance(found, list) and len(found) == 3 and all(_is_place(part) for part in found)):
        raise InvalidInput("after", "the cursor of an earlier answer's `next`", cursor)
    if found[0] != order:
        raise InvalidInput("after", f"a cursor of the order {order}", f"one of {found[0]}")
    return found[1:]


def _is_place(part: object) -> bool:
    """What SQLite can compare with: a number of 64 bits, or text that is Unicode."""
    if isinstance(part, str):
        return not any("\ud800" <= c <= "\udfff" for c in part)
    return isinstance(part, int) and -(2**63) <= part < 2**63
