"""What is deleted stays deleted: tombstones at any place among records of all kinds, in every aggregate."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.bitrix24 import CardAction, CardChanged, CardOutcome, CardReceipt
from schemas.domofon import SignUp, SignUpMoved, SignUpStatus
from schemas.estate import Lead, LeadOp, LeadStatus
from schemas.record import contract
from schemas.rosdomofon import OperatorOutcome, OperatorReceipt
from streams.aggregate import Aggregate, Cause, Outgoing
from streams.domains.crm import CRM
from streams.domains.domofon import domofon
from streams.domains.estate import ESTATE
from streams.lane.processor import BatchProcessor
from streams.rules import DomofonRules
from tables.layout import State
from tests.support.local import PARTITIONS, keys_of, local_serde, raw
from tests.support.values import rows

RULES = DomofonRules(acknowledgements={"A": "thanks"}, block_stage="JUNK", stage_messages={"NEW": "now"})
AGGREGATES = [a for domain in (ESTATE, CRM, domofon(RULES)) for a in domain.aggregates]
KEY = "k1"
RECEIPT = CardReceipt(KEY, "c", CardAction.CREATE_CARD, CardOutcome.SUCCESS, 304)


def told(aggregate: Aggregate, before: State | None, after: State | None, event: Any, n: int) -> list[Outgoing]:
    if after is before or aggregate.react is None:
        return []
    return list(aggregate.react(before, after, event, Cause(aggregate.topic, 0, n, n)))


def story(topic: str, *events: Any) -> tuple[State | None, list[Any]]:
    """The state, and what was told of the last event."""
    aggregate = next(a for a in AGGREGATES if a.topic == topic)
    state, out = None, list[Outgoing]()
    for n, event in enumerate(events):
        before, state = state, None if event is None else aggregate.evolve(state, event, n)
        out = told(aggregate, before, state, event, n)
    return state, [each.row for each in out]


@pytest.mark.parametrize("aggregate", AGGREGATES, ids=lambda a: a.topic)
@given(data=st.data())
def test_only_what_creates_brings_a_thing_back(aggregate: Aggregate, data: st.DataObject) -> None:
    of = aggregate.layout.contracts
    event = st.none() | st.one_of([rows(c).map(lambda row, c=c: row._replace(**{c.key: KEY})) for c in of])
    state, alive = None, False
    for n, said in enumerate(data.draw(st.lists(event, max_size=12))):
        before = state
        state = None if said is None else aggregate.evolve(before, said, n)
        creates = said is not None and contract(type(said)).if_unknown == "create"
        alive = said is not None and (alive or (creates and state is not before))
        assert alive == (state is not None and state.version > 0)
        if not alive and said is not None:
            assert told(aggregate, before, state, said, n) == []


def test_each_kind_says_whether_it_creates() -> None:
    """Of topics that several share; a record class of a later domain must be decided on here, too."""
    shared = {c.name: c.if_unknown for a in AGGREGATES for c in a.layout.contracts if len(a.layout.contracts) > 1}
    creating = {"Lead", "UserCreated", "RequestBegun", "CardAsked", "Abonent", "Message", "SignUp", "ClientReported"}
    assert {name for name, does in shared.items() if does == "create"} == creating
    assert {name for name, does in shared.items() if does == "wait"} == {"LeadOp", "FixingReported"}


def test_a_receipt_after_a_tombstone_makes_no_card() -> None:
    """It made "Lead k1" with an empty comment, over the real card."""
    assert story("estate.lead", Lead(KEY, 1, client_ext_id="c"), None, RECEIPT) == (None, [])
    assert story("estate.lead", Lead(KEY, 1), None, CardChanged(KEY, 304, "NEW")) == (None, [])


def test_an_operation_of_a_lead_that_is_not_known_makes_no_card_until_it_comes() -> None:
    op = LeadOp(KEY, 1, "op-1", LeadStatus.BOOKED)
    assert story("estate.lead", op)[1] == []
    assert story("estate.lead", op, LeadOp(KEY, 2, "op-2", LeadStatus.WON))[1] == []
    _, (card,) = story("estate.lead", op, Lead(KEY, 2, client_ext_id="c"))
    assert (card.action, card.stage) == (CardAction.CREATE_CARD, "PROCESSED")


def test_a_lead_that_comes_back_is_told_whole() -> None:
    again = Lead(KEY, 5, client_ext_id="c", lead_number=7)
    _, (card,) = story("estate.lead", Lead(KEY, 1), RECEIPT, None, RECEIPT, again)
    assert (card.action, card.title, card.bitrix_lead_id) == (CardAction.CREATE_CARD, "Lead 7", None)


def test_a_status_that_the_operator_took_over_brings_no_sign_up_back() -> None:
    new = SignUp(KEY, "SK_SB", "15", status=SignUpStatus.UNPROCESSED)
    done = OperatorReceipt(KEY, operator_outcome=OperatorOutcome.SUCCESS)
    _, (moved,) = story("domofon.sign-up", new, CardChanged(KEY, 1, "CONVERTED"), done)
    assert moved == SignUpMoved(KEY, SignUpStatus.CONNECTED, moved_from=SignUpStatus.UNPROCESSED)
    assert story("domofon.sign-up", new, None, moved) == (None, [])


def test_a_status_that_a_rebuild_tells_once_more_changes_nothing() -> None:
    """It stands on the topic behind all that the operator has said since."""
    new = SignUp(KEY, "SK_SB", "15", status=SignUpStatus.UNPROCESSED)
    moved = SignUpMoved(KEY, SignUpStatus.CONNECTED, moved_from=SignUpStatus.UNPROCESSED)
    since = SignUp(KEY, status=SignUpStatus.REJECTED)
    state, out = story("domofon.sign-up", new, moved, since, moved)
    assert (getattr(state, "status", None), out) == (SignUpStatus.REJECTED, [])
    of_old = moved._replace(moved_from=None)
    state, _ = story("domofon.sign-up", new, of_old)
    assert getattr(state, "status", None) == SignUpStatus.CONNECTED


async def test_what_was_ignored_is_counted() -> None:
    serde, _ = await local_serde(*ESTATE.writes)
    processor, (key,) = BatchProcessor(ESTATE, serde, PARTITIONS, 10_000), keys_of(3, 1)
    receipts = [raw(serde, "estate.lead", RECEIPT._replace(ext_id=key), n) for n in range(3)]
    folded = await processor.fold(3, [("estate.lead", receipts)], {}.get)
    assert (folded.states, folded.writes) == ({}, {})
    assert (processor.stats.unknown, processor.stats.duplicates, processor.stats.dead_letters) == (3, 0, 0)
