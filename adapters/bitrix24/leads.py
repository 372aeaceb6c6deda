"""A portal's leads, by ``crm.lead.*`` (contracts §1, old API). `items` does the same by ``crm.item.*``.

Fields have the names of the old API in both. Each method raises DeliveryError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Protocol

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from adapters.bitrix24.answers import Unreadable
from adapters.bitrix24.client import Bitrix24Client
from schemas.errors import OutcomeUnknown
from schemas.fields import is_id

PAGE: Final = 50
"""Rows of each list; a shorter one is the last."""
SCALARS: Final = (
    "ID",
    "TITLE",
    "NAME",
    "STATUS_ID",
    "COMMENTS",
    "OPPORTUNITY",
    "ORIGINATOR_ID",
    "ORIGIN_ID",
    "DATE_MODIFY",
)
"""Of a lead, what we read."""

_Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]

_Money = Annotated[Decimal, BeforeValidator(lambda value: value or 0)]


class Phone(BaseModel):
    """One of a lead's; it is changed by its id, without one another is added."""

    model_config = ConfigDict(frozen=True)
    id: int = Field(alias="ID")
    value: _Text = Field(default="", alias="VALUE")
    kind: _Text = Field(default="", alias="VALUE_TYPE")


class PortalLead(BaseModel):
    """A lead as the portal has it now."""

    model_config = ConfigDict(frozen=True)
    id: int = Field(alias="ID", gt=0)
    title: _Text = Field(default="", alias="TITLE")
    name: _Text = Field(default="", alias="NAME")
    stage: _Text = Field(default="", alias="STATUS_ID")
    comment: _Text = Field(default="", alias="COMMENTS")
    opportunity: _Money = Field(default=Decimal(0), alias="OPPORTUNITY")
    originator: _Text = Field(default="", alias="ORIGINATOR_ID")
    """Whose it is: a system's name."""
    origin: _Text = Field(default="", alias="ORIGIN_ID")
    """``<aggregate>:<ext_id>`` of ours, see `cards.origin_of`."""
    date_modify: AwareDatetime = Field(alias="DATE_MODIFY")
    """To the second."""
    phones: tuple[Phone, ...] = Field(default=(), alias="PHONE")


class BadLead(BaseModel):
    """A row that can't be read whole; None: that part of it can't be, either. It is there nevertheless."""

    model_config = ConfigDict(frozen=True)
    id: int | None
    originator: str | None
    origin: str | None
    date_modify: datetime | None
    why: str


class LeadApi(Protocol):
    """What both APIs can do."""

    async def find(self, originator: str, origin: str) -> int | None:
        """The oldest lead with exactly this origin."""

    async def add(self, fields: Mapping[str, Any]) -> int:
        """Create; the new id."""

    async def update(self, lead_id: int, fields: Mapping[str, Any]) -> None:
        """Change what is named. A phone with an ID is changed, one without is added."""

    async def get(self, lead_id: int) -> PortalLead:
        """Raises Bitrix24Refused with ``not_found`` if there is none."""

    async def page(self, wanted: Mapping[str, Any], order: Mapping[str, str]) -> list[PortalLead | BadLead]:
        """The first `PAGE` leads that a filter finds; ``order``: ``ASC`` or ``DESC`` by field."""


class Leads:
    """``crm.lead.*``, the default: deprecated, but what most portals are used by."""

    def __init__(self, portal: Bitrix24Client) -> None:
        self._portal = portal

    async def find(self, originator: str, origin: str) -> int | None:
        """See LeadApi. The portal compares without case, so we compare again."""
        wanted = {"=ORIGINATOR_ID": originator, "=ORIGIN_ID": origin}
        rows = await self._rows(wanted, {"ID": "ASC"}, ("ID", "ORIGIN_ID"))
        return next((number(row["ID"]) for row in rows if row.get("ORIGIN_ID") == origin), None)

    async def add(self, fields: Mapping[str, Any]) -> int:
        """See LeadApi."""
        reply = await self._portal.call("crm.lead.add", {"fields": fields})
        return number(reply.result)

    async def update(self, lead_id: int, fields: Mapping[str, Any]) -> None:
        """See LeadApi."""
        await self._portal.call("crm.lead.update", {"id": lead_id, "fields": fields})

    async def get(self, lead_id: int) -> PortalLead:
        """See LeadApi."""
        reply = await self._portal.call("crm.lead.get", {"id": lead_id})
        return read_lead(reply.result)

    async def page(self, wanted: Mapping[str, Any], order: Mapping[str, str]) -> list[PortalLead | BadLead]:
        """See LeadApi."""
        return [read_row(row) for row in await self._rows(wanted, order, (*SCALARS, "PHONE"))]

    async def _rows(self, wanted: Mapping[str, Any], order: Mapping[str, str], select: Sequence[str]) -> list[Any]:
        params = {"filter": wanted, "order": order, "select": list(select), "start": -1}
        reply = await self._portal.call("crm.lead.list", params)
        return reply.result if isinstance(reply.result, list) else []


def read_lead(row: Any) -> PortalLead:
    """A row of the old API. Raises Unreadable if it is no lead."""
    try:
        return PortalLead.model_validate(row)
    except ValidationError as error:
        raise Unreadable("lead", error) from None


def read_row(row: Any) -> PortalLead | BadLead:
    """One of many, whose neighbours shall not suffer from it."""
    try:
        return read_lead(row)
    except Unreadable as error:
        parts = {name: _part(row, name) for name in ("id", "originator", "origin", "date_modify")}
        return BadLead(**parts, why=error.message)


def _part(row: Any, name: str) -> Any:
    field = PortalLead.model_fields[name].alias or name
    whole = {"ID": 1, "DATE_MODIFY": datetime.max.replace(tzinfo=UTC)}
    try:
        return getattr(PortalLead.model_validate(whole | {field: row[field]}), name)
    except (ValidationError, TypeError, KeyError):
        return None


def number(value: Any) -> int:
    """An id, number or text. Raises OutcomeUnknown: something was answered, but not what it made."""
    text = str(value)
    if not is_id(text):
        raise OutcomeUnknown("the portal's answer names nothing")
    return int(text)


def as_time(moment: datetime) -> str:
    """As a filter of the portal takes it."""
    return moment.isoformat(timespec="seconds")
