"""A mended command tells the truth: receipt, state and reply say what was done, where that is not what was asked."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, NamedTuple

import orjson
import pytest

from adapters.rosdomofon.sink import RosDomofonRestSink, RosDomofonSink
from schemas.bitrix24 import (
    CardAction,
    CardChanged,
    CardCommand,
    CardOutcome,
    CardReceipt,
    CommentCommand,
    CommentReceipt,
)
from schemas.core_users import CardAsked
from schemas.crm import MendUser, MoveUser, UserCreated, UserMended, UserMoved, UserUpdated
from schemas.domofon import Direction, Message, Origin, SignUp, SignUpMoved, SignUpStatus
from schemas.errors import DeliveryRefused
from schemas.parking import MOST_REPEATED, ParkedAction, ParkedOrder, differences, done_instead
from schemas.record import contract
from schemas.rosdomofon import OperatorAction, OperatorCommand, OperatorOutcome, OperatorReceipt
from streams.aggregate import Accepted, Aggregate, Cause, Outgoing, Rejected
from streams.domains import core_users
from streams.domains.crm import CRM
from streams.domains.domofon import domofon
from streams.domains.estate import ESTATE
from streams.ports import Outcome, Sent
from streams.rules import DomofonRules
from tables.layout import State
from tests.support.desk import COMMAND, TOPIC, Desk, Port, cards
from tests.support.local import local_serde

REFUSED = DeliveryRefused("no such stage")


def edits(asked: Any, done: Any) -> str:
    """As a parked command that was edited carries it."""
    return orjson.dumps(differences(asked, done)).decode()


def said(receipt: Any) -> dict[str, Any]:
    """What a receipt says was done instead, by field."""
    texts = [getattr(receipt, n) for n in receipt._fields if n.endswith(("_edits", "_edits_private"))]
    return {name: done for name, (_, done) in done_instead(*texts).items()}


DOMOFON = domofon(DomofonRules())
CAUSE = Cause("t", 0, 0, 1)
NOSUCH = edits(CardCommand("79", stage="NOSUCH"), CardCommand("79", stage="IN_PROCESS"))
DONE = CardReceipt("79", "c-1", CardAction.MOVE_CARD, CardOutcome.SUCCESS, 304, bitrix_edits=NOSUCH)


class Delivered(NamedTuple):
    lead_id: int = 304
    comment_id: int = 9
    place: str = "t/0/1"


def fold(aggregate: Aggregate, state: State | None, *events: Any) -> tuple[State, list[Any]]:
    """The state, and what the last event made others be told."""
    told: list[Outgoing] = []
    for event in events:
        before, state = state, aggregate.evolve(state, event, 1)
        told = list(aggregate.react(before, state, event, CAUSE)) if aggregate.react and state is not before else []
    assert state is not None
    return state, [out.row for out in told]


async def refused(command: CardCommand, *answers: Exception) -> Desk:
    serde, _ = await local_serde(TOPIC, *cards().receipt_topics)
    it = Desk(serde, Port(REFUSED, *answers))
    await it.execute(command, 5)
    return it


def order(**changes: Any) -> ParkedOrder:
    return ParkedOrder("l-1", ParkedAction.RETRY, (5,), json.dumps(changes), "ann")


async def test_the_receipt_says_what_was_done_instead() -> None:
    it = await refused(COMMAND._replace(stage="NOSUCH", phone="+7700", opportunity=Decimal("1.50")))
    await it.execute(order(stage="IN_PROCESS", phone="+77001112233", opportunity="2.00"), 9)
    receipt = await it.receipt(it.committed[-4:])
    assert receipt.bitrix_outcome == CardOutcome.SUCCESS
    assert json.loads(receipt.bitrix_edits or "") == {
        "opportunity": ["1.50", "2.00"],
        "stage": ["NOSUCH", "IN_PROCESS"],
    }
    assert json.loads(receipt.bitrix_edits_private or "") == {"phone": ["+7700", "+77001112233"]}
    assert "bitrix_edits" not in receipt.unset
    assert contract(CardReceipt).personal == {"bitrix_edits_private"}


async def test_of_edits_after_each_other_what_was_asked_first_and_done_last() -> None:
    it = await refused(COMMAND._replace(stage="NOSUCH", title="Lead 1"), REFUSED, REFUSED)
    again = await it.execute(order(stage="NO", title="Lead one"), 9)
    assert (await it.receipt(again)).bitrix_edits is not None, "a refusal says what was refused"
    await it.execute(order(stage="NEIN", title="Lead 1"), 10)
    await it.execute(order(stage="IN_PROCESS"), 11)
    receipt = await it.receipt(it.committed[-4:])
    assert json.loads(receipt.bitrix_edits or "") == {"stage": ["NOSUCH", "IN_PROCESS"]}


async def test_a_command_that_was_not_mended_says_so() -> None:
    it = await refused(COMMAND)
    for n in (6, 7):
        await it.execute(COMMAND._replace(command_id=f"c-{n}"), n)
    it.committed.clear()
    await it.execute(ParkedOrder("l-1"), 9)
    for topic, entry in it.committed:
        if topic == "bitrix.responses":
            row: Any = await it.serde.decode(topic, entry.value or b"")
            assert (row.bitrix_edits, row.bitrix_edits_private) == (None, None)
            assert {"bitrix_edits", "bitrix_edits_private"} <= set(row.unset)


@pytest.mark.parametrize(
    ("sink", "asked", "changes", "prefix"),
    [
        (cards(), CardCommand("1", "c"), {"stage": "NEW", "phone": "+7"}, "bitrix"),
        (cards(), CommentCommand("1", "c", "a"), {"text": "b", "title": "t"}, "comment"),
        (RosDomofonRestSink(None), OperatorCommand("1", "c", OperatorAction.SET_SIGN_UP),
         {"sign_up_status": SignUpStatus.REJECTED, "text": "b"}, "operator"),
        (RosDomofonSink(None), OperatorCommand("1", "c"), {"channel": "x", "abonent_phone": "7"}, "operator"),
    ],
    ids=["card", "comment", "request", "message"],
)  # fmt: skip
@pytest.mark.parametrize("error", [None, REFUSED])
def test_every_kind_of_receipt_says_it(sink: Any, asked: Any, changes: dict[str, Any], prefix: str, error: Any) -> None:
    done = asked._replace(**changes)
    outcome = Outcome(1, None if error else Sent(7, Delivered()), error, edits(asked, done))
    _, receipt = sink.receipts(done, outcome)
    assert said(receipt) == changes
    assert len(json.loads(getattr(receipt, f"{prefix}_edits"))) == 1, "what is personal stands apart"
    _, plain = sink.receipts(asked, outcome._replace(edits=None))
    assert said(plain) == {}
    assert {f"{prefix}_edits", f"{prefix}_edits_private"} <= set(plain.unset), "as of the command before it"


def test_long_texts_are_cut_and_noise_is_none() -> None:
    long = edits(CommentCommand("1", text="a" * 60_000), CommentCommand("1", text="b" * 60_000))
    assert len(long) < 3 * MOST_REPEATED
    for noise in ("", "{", "[]", '{"stage": 1}', '{"stage": [1]}', '{"stage": ["NEW", 7]}', "[" * 100_000):
        assert said(DONE._replace(bitrix_edits=noise)) == {}


def test_a_user_of_a_core_service_stands_where_its_card_does_and_the_reply_says_so() -> None:
    users = CRM.by_topic[core_users.USERS]
    asked = CardAsked("79", "a1", CardAction.MOVE_CARD, "Иван", "+7700", "NOSUCH", "q")
    state, (reply,) = fold(users, None, asked, DONE)
    assert (state.stage, state.bitrix_edits) == ("IN_PROCESS", NOSUCH)
    assert (reply.status, reply.stage, reply.full_name) == (CardOutcome.SUCCESS, "IN_PROCESS", "Иван")
    assert fold(users, state, DONE)[0] is state, "a repeat"


def test_what_a_core_service_has_asked_since_stays() -> None:
    users = CRM.by_topic[core_users.USERS]
    first = CardAsked("79", "a1", CardAction.MOVE_CARD, "Иван", "+7700", "NOSUCH", "q")
    state, (reply,) = fold(users, None, first, first._replace(ask_id="a2", stage="CONVERTED"), DONE)
    assert (state.stage, reply.stage) == ("CONVERTED", "IN_PROCESS"), "the reply is of the command that was mended"


@pytest.mark.parametrize(
    ("asked", "done", "state_field", "wanted"),
    [
        ({"name": "И" * 300}, {"name": "Иван"}, "full_name", "Иван"),
        ({"phone": "+7700"}, {"phone": None}, "phone", None),
        ({"stage": "NOSUCH"}, {"stage": None}, "stage", "PROCESSED"),
    ],
)
def test_each_field_of_a_user_and_what_was_left_out(
    asked: dict[str, Any], done: dict[str, Any], state_field: str, wanted: str | None
) -> None:
    """A stage that is not told stays the one that the portal has."""
    row = CardAsked("79", "a1", CardAction.CREATE_CARD, asked.get("name", "Иван"), "+7700", asked.get("stage", "NEW"))
    changes = edits(CardCommand("79", **asked), CardCommand("79", **done))
    names = CardReceipt("79", "c", CardAction.CREATE_CARD, CardOutcome.SUCCESS, 304)
    place = "bitrix_edits" if "stage" in asked else "bitrix_edits_private"
    state, (reply,) = fold(
        CRM.by_topic[core_users.USERS],
        None,
        row,
        CardChanged("79", 304, "PROCESSED"),
        names._replace(**{place: changes}),
    )
    assert getattr(state, state_field) == wanted
    assert getattr(reply, state_field) == done.get("name", done.get("stage"))


def test_a_refusal_changes_nothing() -> None:
    users = CRM.by_topic[core_users.USERS]
    asked = CardAsked("79", "a1", CardAction.MOVE_CARD, "Иван", "+7700", "NOSUCH", "q")
    state, (reply,) = fold(users, None, asked, DONE._replace(bitrix_outcome=CardOutcome.ERROR))
    assert (state.stage, reply.stage) == ("NOSUCH", "IN_PROCESS"), "the reply names what was refused"


def test_a_user_of_ours_is_mended_by_its_own_rules_and_no_card_is_told() -> None:
    users = CRM.by_topic["crm.user"]
    assert users.decide is not None
    created = UserCreated("79", 1, 79, "Иван", "+77001112233", "NEW")
    state, told = fold(users, None, created, UserMoved("79", 2, "NOSUCH"), DONE)
    assert (state.stage, told) == ("NOSUCH", [MendUser("79", CAUSE.id(0), NOSUCH)])
    verdict = users.decide(state, told[0], CAUSE)
    assert isinstance(verdict, Accepted)
    assert verdict.events == [UserMended("79", stage="IN_PROCESS")]
    after, cards = fold(users, state, UserMended("79", 3, stage="IN_PROCESS"))
    assert (after.stage, cards) == ("IN_PROCESS", [])
    again = users.decide(after, told[0], CAUSE)
    assert isinstance(again, Accepted)
    assert list(again.events) == [], "by a rebuild, for one"
    later = users.decide(after, MoveUser("79", "x", "NEW"), CAUSE)
    assert isinstance(later, Accepted)
    assert later.events == [UserMoved("79", stage="NEW")]


def test_what_a_user_was_changed_to_since_stays() -> None:
    users = CRM.by_topic["crm.user"]
    assert users.decide is not None
    created = UserCreated("79", 1, 79, "Иван", "+77001112233", "NEW")
    state, _ = fold(users, None, created, UserUpdated("79", 2, stage="CONVERTED"))
    verdict = users.decide(state, MendUser("79", "c", NOSUCH), CAUSE)
    assert isinstance(verdict, Accepted)
    assert list(verdict.events) == []
    assert isinstance(users.decide(None, MendUser("79", "c", NOSUCH), CAUSE), Rejected)
    for noise in ("", "{", "x" * 10, '{"stage": ["CONVERTED", 7]}'):
        verdict = users.decide(state, MendUser("79", "c", noise), CAUSE)
        assert isinstance(verdict, Accepted), noise
        assert list(verdict.events) == []


def test_a_leads_state_says_it_until_the_next_receipt() -> None:
    """Its stage follows from what the developer says: only what was told differs."""
    leads = ESTATE.by_topic["estate.lead"]
    from schemas.estate import Lead, LeadState

    state, told = fold(leads, None, Lead("79", 1, state=LeadState.ACTIVE), DONE)
    assert (state.bitrix_edits, state.state, told) == (NOSUCH, "ACTIVE", [])
    state, _ = fold(leads, state, DONE._replace(bitrix_edits=None, unset=("bitrix_edits", "bitrix_edits_private")))
    assert state.bitrix_edits is None


def test_the_timeline_of_the_portal_names_the_words_that_were_sent() -> None:
    messages = DOMOFON.by_topic["domofon.message"]
    said = Message("15/comment/1", Direction.OUT, Origin.PORTAL, "SK", "15", text="[B]Едем[/B]")
    command = OperatorCommand("abonent:15", "c", text="[B]Едем[/B]")
    changes = edits(command, command._replace(text="Едем"))
    receipt = OperatorReceipt("15/comment/1", "c", OperatorAction.SEND_MESSAGE, OperatorOutcome.SUCCESS,
                              operator_edits_private=changes)  # fmt: skip
    _, (comment,) = fold(messages, None, said, receipt)
    assert comment.text == "Отправлено абоненту, изменено: Едем"
    _, (comment,) = fold(messages, None, said, receipt._replace(operator_edits_private=None))
    assert comment.text == "Отправлено абоненту"
    state, told = fold(messages, None, said, CommentReceipt("15/comment/1", "c", comment_edits='{"title": ["a", "b"]}'))
    assert (state.comment_edits, told) == ('{"title": ["a", "b"]}', [])


@pytest.mark.parametrize("stage", ["CONVERTED", "LATER"])
def test_a_sign_up_has_the_status_that_the_operator_was_told(stage: str) -> None:
    """Also if a person has moved the lead to a stage that is no status meanwhile."""
    sign_ups = DOMOFON.by_topic["domofon.sign-up"]
    new = SignUp("7", "SK", "15", status=SignUpStatus.UNPROCESSED)
    command = OperatorCommand("sign-up:7", "c", OperatorAction.SET_SIGN_UP, sign_up_status=SignUpStatus.CONNECTED)
    changes = edits(command, command._replace(sign_up_status=SignUpStatus.PROCESSED))
    receipt = OperatorReceipt("7", "c", OperatorAction.SET_SIGN_UP, OperatorOutcome.SUCCESS, operator_edits=changes)
    _, told = fold(sign_ups, None, new, CardChanged("7", 1, stage), receipt)
    assert told == [SignUpMoved("7", SignUpStatus.PROCESSED, moved_from=SignUpStatus.UNPROCESSED)]
