"""Users of an outside Core service: cards for what it asks, answers for what became of it."""

from __future__ import annotations

from typing import Any

from schemas.bitrix24 import CardAction, CardCommand, CardOutcome, CardReceipt
from schemas.core_users import CardAsked, CoreReply
from streams.aggregate import Cause, Outgoing
from streams.domains import core_users
from streams.domains.crm import CRM
from tables.layout import State

CAUSE = Cause(core_users.USERS, 0, 0, 1)
IVAN = CardAsked("123", "a1", CardAction.CREATE_CARD, "Иван Иванов", "+77001112233", "NEW", "bitrix.responses")


def fold(state: State | None, event: Any) -> tuple[State, list[Outgoing]]:
    aggregate = CRM.by_topic[core_users.USERS]
    after = aggregate.evolve(state, event, 1)
    assert aggregate.react is not None
    return after, [] if after is state else list(aggregate.react(state, after, event, CAUSE))


def test_each_action_becomes_a_card_and_a_repeat_none() -> None:
    state, (out,) = fold(None, IVAN)
    assert (out.topic, type(out.row)) == ("bitrix.commands", CardCommand)
    assert (out.row.action, out.row.aggregate, out.row.reply_topic) == (
        "CREATE_CARD",
        core_users.USERS,
        core_users.USERS,
    )
    assert fold(state, IVAN) == (state, [])
    _, (moved,) = fold(state, CardAsked("123", "a2", CardAction.MOVE_CARD, stage="CONVERTED"))
    card = moved.row
    assert (card.action, card.name, card.phone, card.stage) == ("MOVE_CARD", IVAN.full_name, IVAN.phone, "CONVERTED")


def test_a_user_without_a_phone_is_answered_in_the_seeds_words() -> None:
    _, (out,) = fold(None, CardAsked("7", "a1", CardAction.CREATE_CARD, "Пользователь без телефона", stage="NEW"))
    assert out.topic == core_users.REPLIES
    assert (out.row.status, out.row.reason) == (CardOutcome.ERROR, "Missing phone number")
    assert (out.row.full_name, out.row.phone, out.row.stage) == ("Пользователь без телефона", None, "NEW")


def test_who_asked_is_told_the_outcome() -> None:
    state, _ = fold(None, IVAN)
    receipt = CardReceipt("123", "k", CardAction.CREATE_CARD, CardOutcome.SUCCESS, 456, None, 2)
    state, (out,) = fold(state, receipt)
    assert out.row == CoreReply("123", "bitrix.responses", CardOutcome.SUCCESS, CardAction.CREATE_CARD, "Иван Иванов",
                                "+77001112233", "NEW", 456, None, 2)  # fmt: skip
    assert state.bitrix_lead_id == 456
    assert fold(state, receipt) == (state, []), "told once"
    failed = CardReceipt("123", "k2", CardAction.MOVE_CARD, CardOutcome.ERROR, None, "delivery_refused: no", 3)
    _, (out,) = fold(state, failed)
    assert (out.row.status, out.row.reason, out.row.attempts) == (CardOutcome.ERROR, "delivery_refused: no", 3)


def test_a_name_that_is_cleared_is_cleared_in_the_card_too() -> None:
    state, _ = fold(None, IVAN)
    asked = CardAsked("123", "a2", CardAction.UPDATE_CARD, phone=IVAN.phone, unset=("full_name",))
    _, (out,) = fold(state, asked)
    assert (out.row.name, out.row.unset, out.row.phone) == (None, ("name",), IVAN.phone)


def test_a_command_that_a_person_mended_makes_the_user_what_the_card_is() -> None:
    """The answer said stage NOSUCH, as our state did; the card stood at IN_PROCESS."""
    state, _ = fold(None, IVAN)
    state, _ = fold(state, CardAsked("123", "a2", CardAction.MOVE_CARD, stage="NOSUCH"))
    edits = '{"stage": ["NOSUCH", "IN_PROCESS"], "title": ["a", null]}'
    receipt = CardReceipt("123", "k", CardAction.MOVE_CARD, CardOutcome.SUCCESS, 456, None, 1, bitrix_edits=edits)
    mended, (out,) = fold(state, receipt)
    assert (mended.stage, mended.full_name, out.row.stage) == ("IN_PROCESS", "Иван Иванов", "IN_PROCESS")
    moved, _ = fold(state, CardAsked("123", "a3", CardAction.MOVE_CARD, stage="CONVERTED"))
    assert fold(moved, receipt)[0].stage == "CONVERTED", "a later message is the newer word"
    for broken in ("", "[]", "{", '{"stage": 5}', '{"stage": [1, 2]}', '{"stage": ["NOSUCH"]}'):
        assert fold(state, receipt._replace(bitrix_edits=broken))[0].stage == "NOSUCH"
