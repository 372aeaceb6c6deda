"""The collections that the gateway serves: what the shell tells it of each aggregate."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, NamedTuple, Protocol

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
    ranges: Mapping[str, dict[str, Any]]
    """Fields that a list can be cut by (``price_from``, ``price_to``), each with its JSON Schema."""
    search: tuple[str, ...]
    """Fields that a list can be searched by (``q``); none: it can't."""
    orders: tuple[str, ...]
    """What a list can be sorted by."""
    summary: str
    """What such a thing is."""


@dataclass(frozen=True)
class ListRequest:
    """A page of a list, as it is asked for."""

    filters: Mapping[str, str] = field(default_factory=dict)
    """Texts by parameter: fields, and the ends of ranges."""
    search: str | None = None
    """Words that must be there; None: not searched."""
    order: str = "ext_id"
    after: Sequence[Any] | None = None
    """The place where the page before ended."""
    skip: int = 0
    limit: int = 50
    count: bool = False
    """Say how many there are, whatever page is wanted."""


class ListPage(NamedTuple):
    """What came of it."""

    rows: list[Document]
    after: Sequence[Any] | None
    """The place after the last row, if there are more."""
    total: int | None = None


class Reader(Protocol):
    """What the gateway asks; given by the shell, so that the gateway knows neither table nor Kafka."""

    async def get(self, topic: str, ext_id: str, *, personal: bool, as_of: str | None = None) -> Document | None:
        """What is known, or was at a time. Raises InvalidInput for a time that is none."""

    async def find(self, topic: str, asked: ListRequest, *, personal: bool) -> ListPage:
        """A page of a list. Raises InvalidInput that names the parameter which can't be."""

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
    """An opaque place in a list of that order. A key of 255 characters fits, whatever they are."""
    parts = [order, *(place[-1:] if _is_by_key(order) else place)]
    return base64.urlsafe_b64encode(json.dumps(parts, ensure_ascii=False).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, order: str) -> list[Any]:
    """The place again. Raises InvalidInput for anything that `encode_cursor` did not make for this order."""
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        found = None
    sizes = (2, 3) if _is_by_key(order) else (3,)  # a version before said the key twice
    if not (isinstance(found, list) and len(found) in (2, 3) and all(_is_place(part) for part in found)):
        raise InvalidInput("after", "the cursor of an earlier answer's `next`", cursor)
    if found[0] != order or len(found) not in sizes:
        raise InvalidInput("after", f"a cursor of the order {order}", f"one of {found[0]}")
    return found[1:]


def _is_by_key(order: str) -> bool:
    return order.removeprefix("-") == "ext_id"


def _is_place(part: object) -> bool:
    """What SQLite can compare with: a number of 64 bits, or text that is Unicode."""
    if isinstance(part, str):
        return not any("\ud800" <= c <= "\udfff" for c in part)
    if isinstance(part, float):
        return not math.isnan(part)
    return isinstance(part, int) and -(2**63) <= part < 2**63
