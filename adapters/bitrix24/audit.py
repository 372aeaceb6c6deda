"""The comparison of our state with a portal: the differences, and a walk through all of our leads there."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterable
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

from adapters.bitrix24.cards import digits
from adapters.bitrix24.leads import PAGE, BadLead, LeadApi, PortalLead, cents
from adapters.bitrix24.markup import NAME, TITLE, as_card_comment, as_line, plain
from schemas.errors import DeliveryUnavailable

PARTS: Final = 50
"""Parts of a walk that run at the same time: as many as a batch has commands."""


class OurLead(NamedTuple):
    """Our state of a lead. A field that is None was never set and never differs; a cleared one is empty or 0."""

    ext_id: str
    origin: str
    """See `origins.origin_of`."""
    lead_id: int | None
    """None if its creation has not been confirmed."""
    stage: str | None = None
    title: str | None = None
    phone: str | None = None
    name: str | None = None
    comment: str | None = None
    opportunity: Decimal | None = None


class Drift(StrEnum):
    """A fault of a whole lead, or the field that differs."""

    MISSING = "missing"
    """No lead of the portal has its origin, and none was confirmed: it was never created."""
    DELETED = "deleted"
    """The lead was created, and the portal has it no more."""
    DOUBLED = "doubled"
    """Another lead of the portal has the same origin."""
    MOVED = "moved"
    """The lead that has its origin is another than the one that we know."""
    UNKNOWN = "unknown"
    """The lead has our signature, and we do not know it."""
    UNREADABLE = "unreadable"
    """The portal has an unreadable lead that may be this one."""
    STAGE, TITLE, PHONE = "stage", "title", "phone"
    NAME, COMMENT, OPPORTUNITY = "name", "comment", "opportunity"


class Difference(NamedTuple):
    """A difference in ``field``; ``ours`` and ``portals`` are its values as texts. Phones are personal: mask them."""

    ext_id: str
    """The ext_id, or the origin of an unknown lead."""
    field: Drift
    ours: str
    portals: str


def compare(
    ours: Iterable[OurLead], portals: Iterable[PortalLead | BadLead], *, simple: bool = False
) -> list[Difference]:
    """Return all differences in the order of our leads, then the portal's unknown leads by id.

    ``simple``: the portal is a simple CRM, which sets the stages itself (docs/contracts/bitrix24.md#stages).
    """
    by_origin: dict[str, list[PortalLead]] = {}
    bad: list[BadLead] = []
    for lead in sorted(portals, key=lambda lead: lead.id or 0):
        if isinstance(lead, BadLead):
            bad.append(lead)
        else:
            by_origin.setdefault(lead.origin, []).append(lead)
    found: list[Difference] = []
    for our in ours:
        leads = by_origin.pop(our.origin, [])
        if not leads and (hidden := _hidden(our, bad)):
            found.append(Difference(our.ext_id, Drift.UNREADABLE, str(our.lead_id or ""), str(hidden.id or "")))
        else:
            found += _differences(our, leads, simple)
    found += [Difference(lead.origin or "", Drift.UNREADABLE, "", f"{lead.id or ''} {lead.why}") for lead in bad]
    rest = sorted((lead for leads in by_origin.values() for lead in leads), key=lambda lead: lead.id)
    return found + [Difference(lead.origin, Drift.UNKNOWN, "", str(lead.id)) for lead in rest]


def _differences(our: OurLead, leads: list[PortalLead], simple: bool) -> list[Difference]:
    if not leads:
        gone = Drift.MISSING if our.lead_id is None else Drift.DELETED
        return [Difference(our.ext_id, gone, "" if our.lead_id is None else str(our.lead_id), "")]
    known = [lead for lead in leads if lead.id == our.lead_id]
    lead = known[0] if known else leads[0]
    found: list[Difference] = []
    if our.lead_id is not None and not known:
        found.append(Difference(our.ext_id, Drift.MOVED, str(our.lead_id), str(lead.id)))
    if len(leads) > 1:
        ids = ", ".join(str(one.id) for one in leads)
        found.append(Difference(our.ext_id, Drift.DOUBLED, str(lead.id), ids))
    if our.stage is not None and our.stage != lead.stage and not simple:
        found.append(Difference(our.ext_id, Drift.STAGE, our.stage, lead.stage))
    return found + _of_fields(our, lead)


def _of_fields(our: OurLead, lead: PortalLead) -> list[Difference]:
    """Compare texts as a person reads them, as a portal changes markup. A field that the portal omits never differs."""
    found = []
    for drift, ours, theirs, written in (
        (Drift.TITLE, our.title, lead.title, lambda text: as_line(text, TITLE)),
        (Drift.NAME, our.name, lead.name, lambda text: as_line(text, NAME)),
        (Drift.COMMENT, our.comment, lead.comment, as_card_comment),
    ):
        said = str(drift) in lead.model_fields_set
        if ours is not None and said and plain(written(ours)) != plain(theirs):
            found.append(Difference(our.ext_id, drift, ours, theirs))
    known = [digits(phone.value) for phone in lead.phones]
    if our.phone is not None and (digits(our.phone) not in known if our.phone else known):
        numbers = ", ".join(phone.value for phone in lead.phones)
        found.append(Difference(our.ext_id, Drift.PHONE, our.phone, numbers))
    amount = cents(lead.opportunity)
    if our.opportunity is not None and "opportunity" in lead.model_fields_set and our.opportunity != amount:
        found.append(Difference(our.ext_id, Drift.OPPORTUNITY, f"{our.opportunity:.2f}", str(amount)))
    return found


def _hidden(our: OurLead, bad: list[BadLead]) -> BadLead | None:
    """Return the unreadable lead that is this one, or may be: any without a readable origin."""
    fits = [lead for lead in bad if lead.origin == our.origin or (our.lead_id is not None and lead.id == our.lead_id)]
    return next(iter(fits or [lead for lead in bad if lead.origin is None]), None)


async def portal_leads(leads: LeadApi, originator: str) -> AsyncIterator[PortalLead | BadLead]:
    """Yield all leads with our signature, in no order. Raises DeliveryError.

    The ids between the first and the last lead are walked in parts at the same time, which makes batches of lists.
    """
    signed = {"=ORIGINATOR_ID": originator}
    ends = await asyncio.gather(*(leads.page(signed, {"ID": direction}) for direction in ("ASC", "DESC")))
    if not all(ends):
        return
    parts = _parts(ends[0][0].id or 1, max(_ids(ends[1])))
    while parts:
        pages = await asyncio.gather(*(leads.page(signed | part.filter(), {"ID": "ASC"}) for part in parts))
        for lead in (lead for page in pages for lead in page):
            if lead.originator in (originator, None):  # the portal compares without case
                yield lead
        parts = [
            part._replace(after=max(_ids(page))) for part, page in zip(parts, pages, strict=True) if len(page) == PAGE
        ]


def _ids(page: list[PortalLead | BadLead]) -> list[int]:
    if not (ids := [lead.id for lead in page if lead.id is not None]):
        raise DeliveryUnavailable("nothing of a whole page of leads can be read")
    return ids


class _Part(NamedTuple):
    """Ids above ``after``, up to ``last`` if there is one."""

    after: int
    last: int | None

    def filter(self) -> dict[str, int]:
        """Return the filter of these ids."""
        return {">ID": self.after} | ({} if self.last is None else {"<=ID": self.last})


def _parts(first: int, last: int) -> list[_Part]:
    """Return the parts of a range of ids, the last without an end: leads are created meanwhile."""
    step = max(PAGE, math.ceil((last - first + 1) / PARTS))
    begins = range(first - 1, last, step)
    return [_Part(begin, begin + step if begin + step < last else None) for begin in begins]
