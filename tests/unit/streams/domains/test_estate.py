"""What the CRM is told of a developer's lead."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from schemas.bitrix24 import CardAction, CardChanged, CardCommand, CardOutcome, CardReceipt
from schemas.estate import Lead, LeadOp, LeadState, LeadStatus
from schemas.external import from_outside
from streams.aggregate import Cause
from streams.domains.estate import ESTATE
from tables.layout import State

LEADS = ESTATE.by_topic["estate.lead"]
MADE = CardReceipt("l", "k", CardAction.CREATE_CARD, CardOutcome.SUCCESS, 456, None, 1)


def told(*events: Any) -> tuple[State, list[CardCommand]]:
    """The state after all, and the cards on the way."""
    state, cards = None, []
    assert LEADS.react is not None
    for n, event in enumerate(events):
        before, state = state, LEADS.evolve(state, event, n)
        cards += [out.row for out in LEADS.react(before, state, event, Cause("estate.lead", 0, n, n))]
    assert state is not None
    return state, cards


def test_a_new_lead_is_a_card_and_its_status_a_move() -> None:
    _, (made, moved) = told(Lead("l", 1, lead_number=7), LeadOp("l", 2, status=LeadStatus.WON))
    assert (made.action, made.title) == (CardAction.CREATE_CARD, "Lead 7")
    assert (moved.action, moved.stage, moved.title) == (CardAction.MOVE_CARD, "CONVERTED", "Lead 7")


def test_a_card_that_is_there_is_told_only_what_is_new() -> None:
    """A person has moved the lead and given it a name: a fee that changes is no reason to take that back."""
    opened = Lead("l", 1, lead_number=7, state=LeadState.ACTIVE)
    seen = CardChanged("l", 456, "IN_PROCESS", "Важный")
    _, (_, paid) = told(opened, MADE, seen, Lead("l", 2, fee=Decimal("10.00")))
    assert (paid.action, paid.bitrix_lead_id) == (CardAction.UPDATE_CARD, 456)
    assert (paid.opportunity, paid.stage, paid.title, paid.comment) == (Decimal("10.00"), None, None, None)


def test_a_fee_that_is_cleared_is_cleared_in_the_card_too() -> None:
    opened = Lead("l", 1, lead_number=7, fee=Decimal("10.00"), state=LeadState.ACTIVE)
    state, (_, cleared) = told(opened, MADE, Lead("l", 2, unset=("fee",)))
    assert state.fee is None
    assert (cleared.action, cleared.unset, cleared.opportunity) == (CardAction.UPDATE_CARD, ("opportunity",), None)
    assert (cleared.title, cleared.stage, cleared.comment) == (None, None, None)


def test_it_is_cleared_before_the_card_is_known_to_be_there_and_with_a_move() -> None:
    opened = Lead("l", 1, fee=Decimal("10.00"), state=LeadState.ACTIVE)
    _, (made, cleared, again) = told(
        opened, Lead("l", 2, unset=("fee",), state=LeadState.FAILED), Lead("l", 3, lead_number=8)
    )
    assert (made.opportunity, made.unset) == (Decimal("10.00"), ())
    assert (cleared.action, cleared.unset, cleared.stage) == (CardAction.MOVE_CARD, ("opportunity",), "JUNK")
    assert (again.unset, again.title) == ((), "Lead 8"), "what stays cleared is not cleared again"


def test_nothing_is_cleared_that_was_never_there() -> None:
    _, (made, numbered) = told(Lead("l", 1), Lead("l", 2, lead_number=8))
    assert (made.unset, numbered.unset) == ((), ())


def test_a_null_of_the_feed_clears() -> None:
    row = from_outside("lead", {"ext_id": "l", "update_id": 2, "fee": None})
    _, (_, cleared) = told(Lead("l", 1, fee=Decimal("10.00")), row)
    assert cleared.unset == ("opportunity",)
