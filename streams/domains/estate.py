"""The estate domain: its aggregates, and the CRM's cards of leads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from schemas.bitrix24 import CardAction, CardCommand, cleared, only_new
from schemas.estate import LeadState, LeadStatus
from streams.aggregate import Aggregate, Cause, Domain, Outgoing
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

_SHOWN: Final = ("lead_number", "fee", "premise_ext_id")
"""Fields of a lead that its card shows, beside stage and status."""


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
    elif any(getattr(before, name) != getattr(after, name) for name in _SHOWN):
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
    number = lead.ext_id if lead.lead_number is None else lead.lead_number
    known = {"status": lead.status, "state": lead.state, "premise": lead.premise_ext_id}
    return CardCommand(
        ext_id=lead.ext_id,
        command_id=cause.id(0),
        aggregate="estate.lead",
        action=action,
        title=f"Lead {number}",
        stage=stage(lead),
        comment=", ".join(f"{name}: {value}" for name, value in known.items() if value is not None),
        opportunity=lead.fee,
        source="brusnika",
        bitrix_lead_id=lead.bitrix_lead_id,
        reply_topic="estate.lead",
    )


PREMISES: Final = Listing(
    indexes=(("status",),),
    orders=("price", "size", "floor"),
    ranges=("price", "mortgage_payment", "size", "floor"),
    search=("name",),
)
LEADS: Final = Listing(indexes=(("status",), ("state",), ("bitrix_lead_id",)), ranges=("fee",))

ESTATE: Final = Domain(
    "estate",
    aggregates=(
        Aggregate("estate.city", listing=Listing(search=("name",))),
        Aggregate("estate.project", listing=Listing(ranges=("price", "end_date"), search=("name", "location"))),
        Aggregate("estate.building", listing=Listing(search=("name", "address"))),
        Aggregate("estate.section", listing=Listing(search=("name",))),
        Aggregate("estate.premise", listing=PREMISES),
        Aggregate("estate.lead", react=react_to_lead, listing=LEADS),
    ),
    outboxes=(CARDS,),
)
