"""The collections that the gateway serves, one for each aggregate."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, NamedTuple, Protocol

from pydantic import BaseModel, Field, StringConstraints
from pydantic.json_schema import SkipJsonSchema

from schemas.errors import InvalidInput
from tables.view import Known, never
from tables.view_find import PageRequest

Document = dict[str, Any]
VERDICTS: Final = ("applied", "duplicate", "stale", "deleted", "unreadable", "dead-letter")
ABSENT: Final[Any] = Annotated[None, SkipJsonSchema()]  # type: ignore[type-arg]
"""Type of a field that is left out where it has no value; null never comes."""
CURSOR: Final = "^[A-Za-z0-9_-]+$"
Cursor = Annotated[str, StringConstraints(min_length=1, max_length=2_000, pattern=CURSOR)] | SkipJsonSchema[None]
"""Place at which a list continues; None: at its beginning."""


@dataclass(frozen=True)
class Resource:
    """One aggregate as a collection: ``/api/estate/leads``."""

    topic: str
    """``estate.lead``"""
    path: str
    """``/api/estate/leads``"""
    names: tuple[str, str]
    """Singular and plural in the names of operations: ``estate_lead``, ``estate_leads``."""
    model: type[BaseModel]
    """Type of one answer, named after the thing."""
    filters: Mapping[str, dict[str, Any]]
    """Parameters that a list can be filtered by, each with its JSON Schema."""
    notes: Mapping[str, str]
    """Descriptions of filters that are more than the equality of a field."""
    ranges: Mapping[str, dict[str, Any]]
    """Fields that a list can be limited by (``price_from``, ``price_to``), each with its JSON Schema."""
    search: tuple[str, ...]
    """Fields that a list can be searched by (``q``); empty: it has no search."""
    orders: tuple[str, ...]
    """Fields that a list can be sorted by."""
    summary: str
    """Description of such a thing."""


class ListPage(NamedTuple):
    """A page of a list."""

    rows: list[Document]
    after: Sequence[Any] | None
    """The place after the last row, None if there are no more."""
    total: int | None = None
    tag: str = ""
    """Another one whenever the page may be another."""
    is_known: bool = False
    """Whether the caller has the page of this tag, which was not read then."""


class Reader(Protocol):
    """Port through which the routes read, so that they depend on neither the view's database nor Kafka."""

    async def get(self, topic: str, ext_id: str, *, personal: bool, as_of: str | None = None) -> Document | None:
        """Returns a thing's state, now or at a time; None if it is unknown. Raises InvalidInput for an invalid time."""

    async def find(
        self, topic: str, filters: Mapping[str, str], page: PageRequest, *, personal: bool, known: Known = never
    ) -> ListPage:
        """Returns a page of a list. Raises InvalidInput that names the invalid parameter.

        ``filters``: texts by parameter, which are fields and the ends of ranges. ``known``: whether the caller has the
        page of a tag, so that it need not be read.
        """

    async def timeline(self, topic: str, ext_id: str, *, personal: bool, as_of: str | None = None) -> list[Document]:
        """Returns the records of a thing, up to a time."""

    async def health(self) -> Health: ...


class TimelineEntry(BaseModel):
    """A record of a thing: what it changed, or why it changed nothing."""

    time: str
    """Time of the record, ISO 8601."""
    record: str
    """Type of the record: ``LeadOp``, ``tombstone``, ``unreadable``."""
    source: str
    id: str
    partition: int
    offset: int
    verdict: Annotated[str, Field(json_schema_extra={"enum": list(VERDICTS)})]
    changed: dict[str, list[Any]]
    """Values before and after, by field."""
    version: int | SkipJsonSchema[None] = None
    error: str | SkipJsonSchema[None] = None
    """Reason why it can't be read, or became a dead letter."""
    reason: str | SkipJsonSchema[None] = None
    """Reason of a dead letter; the next fields describe the dead letter, too."""
    letter: str | SkipJsonSchema[None] = None
    """Id of the dead letter for `kounter dead-letters show`."""
    put_back: str | SkipJsonSchema[None] = None
    """Time at which it was put back on its topic."""
    again: str | SkipJsonSchema[None] = None
    """The dead letter that it then became."""


class Unreadable(BaseModel):
    """A batch of records that can't be unpacked, which blocks a partition."""

    topic: str
    partition: int
    offset: int
    """Offset of the first unreadable record."""
    last: int
    """Offset of the batch's last record."""
    cause: str
    hint: str


class DomainHealth(BaseModel):
    """Health of a domain's workers."""

    workers: int
    assigned: bool
    """Whether every partition has a worker."""
    recovered: bool
    """Whether no rebalance is under way in Kafka; a worker that still loads its state shows as not progressing."""
    progressing: bool
    """Whether no record waits, or waiting records are being folded."""
    lag_records: int
    lag_seconds: float


class Health(BaseModel):
    """Health of the gateway and of the parts that it shows."""

    live: bool = True
    ready: bool
    """Whether the view is fed, every domain is assigned, recovered and progressing, and no partition is blocked."""
    view_behind: int | None = None
    """Records that the view lacks; absent before the first check."""
    unreadable: list[Unreadable] = Field(default_factory=list)
    """Batches that block workers, deliveries, the Nest bridge or the view, until a person skips them."""
    domains: dict[str, DomainHealth] = Field(default_factory=dict)
    alarms: list[str] = Field(default_factory=list)
    """Feed files that can't be had or are refused: a person should look, and all else works."""


def encode_cursor(order: str, place: Sequence[Any]) -> str:
    """Returns an opaque place in a list of that order. A key of any 255 characters fits."""
    parts = [order, *(place[-1:] if _is_by_key(order) else place)]
    return base64.urlsafe_b64encode(json.dumps(parts, ensure_ascii=False).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, order: str) -> list[Any]:
    """Returns the place in a cursor. Raises InvalidInput for anything that `encode_cursor` did not make for this
    order."""
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        found = None
    sizes = (2, 3) if _is_by_key(order) else (3,)  # an earlier version wrote the key twice
    if not (isinstance(found, list) and len(found) in (2, 3) and all(_is_place(part) for part in found)):
        raise InvalidInput("after", "the cursor of an earlier answer's `next`", cursor)
    if found[0] != order or len(found) not in sizes:
        raise InvalidInput("after", f"a cursor of the order {order}", f"one of {found[0]}")
    return found[1:]


def _is_by_key(order: str) -> bool:
    return order.removeprefix("-") == "ext_id"


def _is_place(part: object) -> bool:
    """Returns whether SQLite can compare with a value: a number of 64 bits, or text that is Unicode."""
    if isinstance(part, str):
        return not any("\ud800" <= c <= "\udfff" for c in part)
    if isinstance(part, float):
        return not math.isnan(part)
    return isinstance(part, int) and -(2**63) <= part < 2**63
