"""A portal's leads by ``crm.lead.*`` (docs/contracts/bitrix24.md#leads); `items` does the same by ``crm.item.*``.

Fields have the names of the old API in both.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Protocol

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from adapters.bitrix24.rest.answers import Bitrix24Refused, Unreadable, UnreadableLead, id_of, rows
from adapters.bitrix24.rest.client import Bitrix24Client
from schemas.errors import OutcomeUnknown, shorten

PAGE: Final = 50
"""Rows of a page; a shorter page is the last."""
SCALARS: Final = (
    "ID",
    "TITLE",
    "NAME",
    "STATUS_ID",
    "COMMENTS",
    "OPPORTUNITY",
    "ORIGINATOR_ID",
    "ORIGIN_ID",
    "DATE_CREATE",
    "DATE_MODIFY",
)
"""Fields of a lead that are read."""

Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]

_Money = Annotated[Decimal, BeforeValidator(lambda value: value or 0), Field(gt=-(10**17), lt=10**17)]


class Phone(BaseModel):
    """A phone of a lead; it is changed by its id, as one without an id is added."""

    model_config = ConfigDict(frozen=True)
    id: int = Field(alias="ID")
    value: Text = Field(default="", alias="VALUE")
    kind: Text = Field(default="", alias="VALUE_TYPE")


def _listed(value: Any) -> Any:
    """Return the values of a list, which PHP shows as a map if it has gaps."""
    return list(value.values()) if isinstance(value, Mapping) else value


_Phones = Annotated[tuple[Phone, ...], BeforeValidator(_listed)]


class PortalLead(BaseModel):
    """A lead as the portal has it now."""

    model_config = ConfigDict(frozen=True)
    id: int = Field(alias="ID", gt=0)
    title: Text = Field(default="", alias="TITLE")
    name: Text = Field(default="", alias="NAME")
    stage: Text = Field(default="", alias="STATUS_ID")
    comment: Text = Field(default="", alias="COMMENTS")
    opportunity: _Money = Field(default=Decimal(0), alias="OPPORTUNITY")
    originator: Text = Field(default="", alias="ORIGINATOR_ID")
    """Name of the system that owns the lead."""
    origin: Text = Field(default="", alias="ORIGIN_ID")
    """``<aggregate>:<ext_id>`` of our leads, see `origins.origin_of`."""
    date_modify: AwareDatetime = Field(alias="DATE_MODIFY")
    """Time of the last change, to the second."""
    date_create: AwareDatetime | None = Field(default=None, alias="DATE_CREATE")
    phones: _Phones = Field(default=(), alias="PHONE")
    """Phones; a lead without any has no such field."""


class BadLead(BaseModel):
    """A lead that exists, but can't be read whole; a part that is None can't be read either."""

    model_config = ConfigDict(frozen=True)
    id: int | None
    originator: str | None
    origin: str | None
    date_modify: datetime | None
    why: str


class LeadApi(Protocol):
    """The calls that both APIs have. Each method raises DeliveryError."""

    async def find(self, originator: str, origin: str) -> int | None:
        """Return the oldest lead with exactly this origin."""

    async def add(self, fields: Mapping[str, Any]) -> int:
        """Create a lead, and return its id."""

    async def update(self, lead_id: int, fields: Mapping[str, Any]) -> None:
        """Change the named fields. A phone with an ID is changed, one without is added."""

    async def get(self, lead_id: int) -> PortalLead:
        """Return a lead. Raises Bitrix24Refused with ``not_found`` if there is none."""

    async def page(self, wanted: Mapping[str, Any], order: Mapping[str, str]) -> list[PortalLead | BadLead]:
        """Return the first `PAGE` leads that a filter finds; ``order``: ``ASC`` or ``DESC`` by field."""


class Leads:
    """``crm.lead.*``, the default: deprecated, but in use with most portals."""

    def __init__(self, portal: Bitrix24Client) -> None:
        self._portal = portal

    async def find(self, originator: str, origin: str) -> int | None:
        """See LeadApi. The portal ignores case, so the origins are compared again here. Raises DeliveryError."""
        wanted = {"=ORIGINATOR_ID": originator, "=ORIGIN_ID": origin}
        listed = await self._rows(wanted, {"ID": "ASC"}, ("ID", "ORIGIN_ID"))
        return found("crm.lead.list", listed, "ID", "ORIGIN_ID", origin)

    async def add(self, fields: Mapping[str, Any]) -> int:
        """See LeadApi. Raises DeliveryError."""
        reply = await self._portal.call("crm.lead.add", {"fields": fields})
        return number(reply.result)

    async def update(self, lead_id: int, fields: Mapping[str, Any]) -> None:
        """See LeadApi. Raises DeliveryError."""
        reply = await self._portal.call("crm.lead.update", {"id": lead_id, "fields": fields})
        if str(reply.result).lower() not in ("true", "1", "y"):
            raise OutcomeUnknown("crm.lead.update: the portal's answer is not a success")

    async def get(self, lead_id: int) -> PortalLead:
        """See LeadApi. Raises DeliveryError."""
        reply = await self._portal.call("crm.lead.get", {"id": lead_id})
        return read_lead(reply.result)

    async def page(self, wanted: Mapping[str, Any], order: Mapping[str, str]) -> list[PortalLead | BadLead]:
        """See LeadApi. Raises DeliveryError."""
        listed = await self._rows(wanted, order, (*SCALARS, "PHONE"))
        return heeded("crm.lead.list", [read_row(row) for row in listed], wanted)

    async def _rows(
        self, wanted: Mapping[str, Any], order: Mapping[str, str], select: Sequence[str]
    ) -> list[Mapping[str, Any]]:
        params = {"filter": wanted, "order": order, "select": list(select), "start": -1}
        reply = await self._portal.call("crm.lead.list", params)
        return rows("crm.lead.list", reply.result)


async def check_own(leads: LeadApi, lead_id: int, originator: str, origin: str) -> None:
    """Check the owner of a lead before the first write by an id that was learned elsewhere, perhaps in another portal.

    Raises Bitrix24Refused if it belongs to another, or with ``not_found`` if there is none; else DeliveryError.
    """
    lead = await leads.get(lead_id)
    if (lead.originator, lead.origin) != (originator, origin):
        whose = f"{lead.originator}, {lead.origin}" if lead.originator or lead.origin else "no system"
        foreign = Bitrix24Refused(
            f"lead {lead_id} is not the one of {shorten(origin)}, it belongs to {shorten(whose)}: nothing was written"
        )
        foreign.hint = (
            "Its id was learned elsewhere: check that KOUNTER_BITRIX24__WEBHOOK_URL names the right portal. In "
            "`kounter parked retry` --set bitrix_lead_id= creates a lead of its own, …=NUMBER takes the one you name."
        )
        raise foreign


def read_lead(row: Any) -> PortalLead:
    """Return the lead of a row of the old API. Raises Unreadable if it is not a lead."""
    try:
        return PortalLead.model_validate(row)
    except ValidationError as error:
        raise UnreadableLead("lead", error) from None


def read_row(row: Any) -> PortalLead | BadLead:
    """Return the lead of one row among many, which an unreadable one must not hold up."""
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
    """Return the id of a created entity, a number or a text. Raises OutcomeUnknown if the answer has none."""
    try:
        return id_of("answer", value)
    except Unreadable:
        raise OutcomeUnknown("the portal's answer has no id") from None


def found(what: str, listed: Sequence[Mapping[str, Any]], id: str, field: str, origin: str) -> int | None:
    """Return the id of the first row that has exactly this origin.

    A portal ignores a filter that it does not know, and then returns its oldest leads. So a row of another origin
    means that ours may be among those that it did not return: raises Unreadable.
    """
    for row in listed:
        if row.get(field) == origin:
            return id_of(what, row.get(id))
    if any(_loosely(row.get(field)) != _loosely(origin) for row in listed):
        raise Unreadable(what, f"its rows are not those of {field} {shorten(origin)}")
    return None


def heeded(what: str, leads: list[PortalLead | BadLead], wanted: Mapping[str, Any]) -> list[PortalLead | BadLead]:
    """Return the leads if they fit the filter. Raises Unreadable if the portal ignored it: a walk would not end."""
    among = {str(id) for id in wanted["@ID"]} if "@ID" in wanted else None
    above, last = int(wanted.get(">ID", 0)), wanted.get("<=ID")
    for lead in leads:
        if lead.id is None:
            continue
        beyond = last is not None and lead.id > int(last)
        if lead.id <= above or beyond or (among is not None and str(lead.id) not in among):
            raise Unreadable(what, "its rows are not those that were asked for")
    return leads


def _loosely(origin: Any) -> str:
    """Return an origin as a portal's loosest comparison sees it: without case, accents, and spaces."""
    apart = unicodedata.normalize("NFKD", str(origin or "")).casefold()
    return "".join(filter(str.isalnum, apart))


def cents(amount: Decimal) -> Decimal:
    """Return an amount with two decimal places, as states keep it."""
    return amount.quantize(Decimal("0.01"))


def as_time(moment: datetime) -> str:
    """Return a time as a filter of the portal takes it."""
    return moment.isoformat(timespec="seconds")
