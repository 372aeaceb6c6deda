"""The estate domain: its aggregates, and the CRM's cards of leads.

The catalogue, leads, tasks and agencies are folded as the developer's system sends them. Time slots, visits, bookings,
clients and users are decided here; the rule so far is that what the developer's system reports is so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from schemas.backend import CHANGES
from schemas.bitrix24 import CardAction, CardCommand, cleared, only_new
from schemas.bookings import (
    BookingReported,
    ReportBooking,
    ReportTimeSlot,
    ReportVisit,
    TimeSlotReported,
    VisitReported,
)
from schemas.estate import LeadState, LeadStatus
from schemas.people import ClientReported, FixingReported, ReportClient, ReportFixing, ReportUser, UserReported
from streams.aggregate import Aggregate, Cause, Domain, Outgoing
from streams.domains.backend import also_to_backend
from streams.rules import BackendRules
from streams.upstream import as_reported
from tables.layout import State
from tables.listing import Listing

CARDS: Final = "bitrix.commands"

STAGE_OF_STATUS: Final[Mapping[str, str]] = {
    LeadStatus.OPEN: "NEW",
    LeadStatus.CHECK_LEAD: "NEW",
    LeadStatus.INTEREST_IN_PURCHASING: "IN_PROCESS",
    LeadStatus.PRESENTATION: "IN_PROCESS",
    LeadStatus.ON_PAUSE: "IN_PROCESS",
    LeadStatus.BOOK_CANCELED: "IN_PROCESS",
    LeadStatus.LOST_BOOK: "IN_PROCESS",
    LeadStatus.BOOKED: "PROCESSED",
    LeadStatus.REQUEST_FOR_CONTRACT: "PROCESSED",
    LeadStatus.CONTRACT_IS_REGISTERED: "PROCESSED",
    LeadStatus.WON: "CONVERTED",
    LeadStatus.FAILED: "JUNK",
}
"""One of Bitrix24's own five stages (docs/contracts/bitrix24.md#stages) by status; the exact status is in the card's
comment."""

STAGE_OF_STATE: Final[Mapping[str, str]] = {
    LeadState.ACTIVE: "NEW",
    LeadState.IN_PROGRESS: "IN_PROCESS",
    LeadState.FAILED: "JUNK",
    LeadState.COMPLETE: "CONVERTED",
}


def _shown(lead: State) -> tuple[Any, ...]:
    """Returns what a lead's card shows, beside stage and status."""
    return _title(lead), lead.fee, lead.premise_ext_id


def _title(lead: State) -> str:
    number = lead.lead_number_text or (lead.ext_id if lead.lead_number is None else lead.lead_number)
    return f"Lead {number}"


def stage(lead: State) -> str | None:
    """Returns the stage of a lead's card: by its status, or its state while it has none."""
    return STAGE_OF_STATUS.get(lead.status) or STAGE_OF_STATE.get(lead.state)


def react_to_lead(before: State | None, after: State | None, event: Any, cause: Cause) -> list[Outgoing]:
    """Returns a card for a new lead, a move for each change of status or state, an update for what else the card
    shows."""
    if after is None or not after.version:
        return []  # the developer took the lead back: the card stays as the CRM's own history; or it has not come yet
    if before is None or not before.version:
        action = CardAction.CREATE_CARD
    elif (before.status, before.state) != (after.status, after.state):
        action = CardAction.MOVE_CARD
    elif _shown(before) != _shown(after):
        action = CardAction.UPDATE_CARD
    else:
        return []
    told = card(after, action, cause)
    if before is not None and before.version:
        known = before.bitrix_lead_id is not None
        told = (only_new if known else cleared)(card(before, action, cause), told)
    return [Outgoing(CARDS, told)]


def card(lead: State, action: CardAction, cause: Cause) -> CardCommand:
    """Returns the card's command for a lead."""
    known = {"status": lead.status, "state": lead.state, "premise": lead.premise_ext_id}
    return CardCommand(
        ext_id=lead.ext_id,
        command_id=cause.id(0),
        aggregate="estate.lead",
        action=action,
        title=_title(lead),
        stage=stage(lead),
        comment=", ".join(f"{name}: {value}" for name, value in known.items() if value is not None),
        opportunity=lead.fee,
        source="brusnika",
        bitrix_lead_id=lead.bitrix_lead_id,
        reply_topic="estate.lead",
    )


_BUILDING: Final = ("building_ext_id", "estate.building")
_PROJECT: Final = ("project_ext_id", "estate.project")
PREMISES: Final = Listing(
    orders=("price", "size", "floor"),
    ranges=("price", "mortgage_payment", "size", "floor", "year"),
    search=("name",),
    several=("type", "status", "rooms"),
    members={"feature": "features"},
    covers=(
        *("building_ext_id", "type", "status", "rooms", "floor", "size", "price", "year", "is_sold", "features"),
        *("mortgage_payment", "changed_at"),
    ),
    through={"project_ext_id": (_BUILDING,), "city_ext_id": (_BUILDING, _PROJECT)},
)
LEADS: Final = Listing(indexes=(("status",), ("state",), ("bitrix_lead_id",)), ranges=("fee",))
TASKS: Final = Listing(indexes=(("status",), ("task_type",)), orders=("end_date",), ranges=("start_date", "end_date"))
AGENCIES: Final = Listing(indexes=(("inn",),), search=("title", "legal_name", "inn"))
SLOTS: Final = Listing(indexes=(("is_booked", "date", "time"),), orders=("date",))
VISITS: Final = Listing(indexes=(("status",),), orders=("date",))
CLIENTS: Final = Listing(
    indexes=(("phone_number",), ("fixing_type",)),
    ranges=("activated_date", "expiration_date"),
    search=("fullname", "phone_number", "email"),
)
USERS: Final = Listing(
    indexes=(("status",), ("role",), ("phone",), ("email",)),
    search=("full_name", "first_name", "last_name", "phone", "email"),
)

ESTATE: Final = Domain(
    "estate",
    aggregates=(
        Aggregate("estate.city", listing=Listing(search=("name",))),
        Aggregate("estate.project", listing=Listing(ranges=("price", "end_date"), search=("name", "location"))),
        Aggregate("estate.building", listing=Listing(search=("name", "address"))),
        Aggregate("estate.section", listing=Listing(search=("name",))),
        Aggregate("estate.premise", listing=PREMISES),
        Aggregate("estate.lead", react=react_to_lead, listing=LEADS),
        Aggregate("estate.task", listing=TASKS),
        Aggregate("estate.agency", listing=AGENCIES),
        Aggregate("estate.time-slot", decide=as_reported({ReportTimeSlot: TimeSlotReported}), listing=SLOTS),
        Aggregate("estate.visit", decide=as_reported({ReportVisit: VisitReported}), listing=VISITS),
        Aggregate(
            "estate.booking",
            decide=as_reported({ReportBooking: BookingReported}),
            listing=Listing(indexes=(("status",),)),
        ),
        Aggregate(
            "estate.client",
            decide=as_reported({ReportClient: ClientReported, ReportFixing: FixingReported}),
            listing=CLIENTS,
        ),
        Aggregate("estate.user", decide=as_reported({ReportUser: UserReported}), listing=USERS),
    ),
    outboxes=(CARDS,),
)


def estate(rules: BackendRules) -> Domain:
    """Returns the domain. With a main backend each change goes there too; without one, no fold has code for it in its
    path."""
    if not rules.enabled:
        return ESTATE
    told = tuple(replace(aggregate, react=also_to_backend(aggregate.react)) for aggregate in ESTATE.aggregates)
    return replace(ESTATE, aggregates=told, outboxes=(*ESTATE.outboxes, CHANGES))
