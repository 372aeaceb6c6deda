"""What is told to whom when an abonent, the operator or a person in the CRM does something."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.bitrix24 import (
    CardAction,
    CardChanged,
    CardCommand,
    CardOutcome,
    CardReceipt,
    CommentCommand,
    CommentReceipt,
    PortalComment,
)
from schemas.domofon import Abonent, Direction, Message, Origin, SignUp, SignUpMoved, SignUpStatus
from schemas.rosdomofon import OperatorAction, OperatorCommand, OperatorOutcome, OperatorReceipt
from streams.aggregate import Cause
from streams.domains.domofon import ABONENTS, CARDS, MESSAGES, OPERATOR, REQUESTS, SIGN_UPS, domofon
from streams.rules import DomofonRules
from tables.layout import State

RULES = DomofonRules(
    acknowledgements={"SK_SB": "Приняли"}, block_stage="JUNK", stage_messages={"PROCESSED": "Готово: $stage"}
)


class Story:
    """One aggregate's history under rules: records in, what is told out."""

    def __init__(self, topic: str, rules: DomofonRules = RULES) -> None:
        self.aggregate = next(a for a in domofon(rules).aggregates if a.topic == topic)
        self.state: State | None = None
        self.n = 0

    def say(self, event: Any) -> list[tuple[str, Any]]:
        self.n += 1
        cause = Cause(self.aggregate.topic, 0, self.n, 1_000_000 * self.n)
        before, self.state = self.state, self.aggregate.evolve(self.state, event, cause.at)
        if self.state is before or self.aggregate.react is None:
            return []
        return [(out.topic, out.row) for out in self.aggregate.react(before, self.state, event, cause)]


def said(text: str | None = "Не открывается дверь", where: str = "MESSAGES_IN_SK_SB/0/7") -> Message:
    return Message(
        f"15/{where}", Direction.IN, Origin.OPERATOR, "SK_SB", "15", "79990000001", "support", text, said_at=5
    )


def test_an_abonents_message_is_a_comment_and_is_acknowledged_once() -> None:
    story = Story(MESSAGES)
    (to_cards, comment), (to_operator, answer) = story.say(said())
    assert (to_cards, to_operator) == (CARDS, OPERATOR)
    assert isinstance(comment, CommentCommand)
    assert (comment.ext_id, comment.phone) == ("abonent:15", "+79990000001")
    assert (comment.text, comment.reply_topic, comment.reply_ext_id) == (said().text, MESSAGES, said().ext_id)
    assert isinstance(answer, OperatorCommand)
    assert (answer.ext_id, answer.text, answer.company, answer.at) == ("abonent:15", "Приняли", "SK_SB", 5)
    assert story.say(said()) == []  # the bridge was killed before it had committed
    assert story.say(CommentReceipt(said().ext_id, comment.command_id, CardOutcome.SUCCESS, 9, 77)) == []
    assert story.say(said()) == []


@pytest.mark.parametrize("text", [None, ""])
def test_a_message_without_words_makes_no_comment(text: str | None) -> None:
    assert Story(MESSAGES).say(said(text)) == []


def test_a_company_without_acknowledgement_stays_silent() -> None:
    assert [t for t, _ in Story(MESSAGES, DomofonRules()).say(said())] == [CARDS]


def test_what_the_company_said_elsewhere_is_told_to_nobody() -> None:
    history = said()._replace(ext_id="15/history/3", direction=Direction.OUT)
    assert Story(MESSAGES).say(history) == []


def test_a_persons_comment_goes_to_the_abonent_and_its_outcome_comes_back() -> None:
    abonents, messages = Story(ABONENTS), Story(MESSAGES)
    assert abonents.say(Abonent("15", "79990000001", company="SK_SB")) == []
    ((topic, message),) = abonents.say(PortalComment("15", 400, "Мастер будет в 15:00"))
    assert (topic, message.ext_id, message.origin) == (MESSAGES, "15/comment/400", Origin.PORTAL)
    assert abonents.say(PortalComment("15", 400, "Мастер будет в 15:00")) == []
    assert abonents.say(PortalComment("15", 399, "из сверки")) == []
    ((topic, command),) = messages.say(message)
    assert (topic, command.text, command.company, command.abonent_phone) == (
        OPERATOR, "Мастер будет в 15:00", "SK_SB", "79990000001"
    )  # fmt: skip
    receipt = OperatorReceipt(command.reply_ext_id, operator_outcome=OperatorOutcome.SUCCESS, operator_place="x/0/1")
    ((topic, comment),) = messages.say(receipt)
    assert (topic, comment.text) == (CARDS, "Отправлено абоненту")
    assert messages.say(receipt) == []
    refused = receipt._replace(operator_outcome=OperatorOutcome.ERROR, operator_reason="refused: no such abonent")
    ((_, comment),) = messages.say(refused)
    assert comment.text == "Не отправлено абоненту: refused: no such abonent"


def test_a_stage_blocks_unblocks_and_sends_its_message() -> None:
    story = Story(ABONENTS)
    story.say(Abonent("15", "79990000001", company="SK_SB"))
    assert story.say(CardChanged("15", 77, "NEW")) == []
    ((topic, message),) = story.say(CardChanged("15", 77, "PROCESSED"))
    assert (topic, message.text, message.direction) == (MESSAGES, "Готово: PROCESSED", Direction.OUT)
    assert story.say(CardChanged("15", 77, "PROCESSED", "renamed")) == []
    ((topic, block),) = story.say(CardChanged("15", 77, "JUNK"))
    assert (topic, block.action, block.abonent_ext_id) == (REQUESTS, OperatorAction.BLOCK, "15")
    ((_, unblock),) = story.say(CardChanged("15", 77, "NEW"))
    assert unblock.action == OperatorAction.UNBLOCK


def test_a_sign_up_is_a_lead_and_its_stage_goes_back_as_a_status_without_a_loop() -> None:
    story = Story(SIGN_UPS)
    new = SignUp("566836", "SK_SB", "15", "79990000001", city="Киров", street="Ленина", house="5", flat=1,
                 status=SignUpStatus.UNPROCESSED)  # fmt: skip
    ((topic, card),) = story.say(new)
    assert isinstance(card, CardCommand)
    assert (topic, card.action, card.stage, card.phone) == (CARDS, CardAction.CREATE_CARD, "NEW", "+79990000001")
    assert card.comment == "адрес: Киров, Ленина, 5, 1, компания: SK_SB"
    assert story.say(CardChanged("566836", 78, "NEW")) == []
    ((topic, command),) = story.say(CardChanged("566836", 78, "CONVERTED"))
    assert (topic, command.action, command.sign_up_status) == (
        REQUESTS, OperatorAction.SET_SIGN_UP, SignUpStatus.CONNECTED
    )  # fmt: skip
    receipt = OperatorReceipt("566836", command.command_id, command.action, OperatorOutcome.SUCCESS)
    old = SignUpStatus.UNPROCESSED
    assert story.say(receipt) == [(SIGN_UPS, SignUpMoved("566836", SignUpStatus.CONNECTED, moved_from=old))]
    assert story.say(SignUpMoved("566836", status=SignUpStatus.CONNECTED)) == []  # the lead stands there already
    ((_, moved),) = story.say(SignUp("566836", status=SignUpStatus.REJECTED))
    assert (moved.action, moved.stage) == (CardAction.MOVE_CARD, "JUNK")
    assert (moved.title, moved.phone, moved.comment) == (None, None, None), "as a person may have changed them"
    assert story.say(CardChanged("566836", 78, "JUNK")) == []


def test_a_sign_up_of_a_new_status_is_a_lead_that_shows_it() -> None:
    story = Story(SIGN_UPS)
    ((topic, card),) = story.say(SignUp("7", "SK_SB", city="Киров", extra='{"status": "ON_HOLD"}'))
    assert isinstance(card, CardCommand)
    assert (topic, card.action, card.stage, card.phone) == (CARDS, CardAction.CREATE_CARD, None, None)
    assert card.comment == "адрес: Киров, компания: SK_SB, статус: ON_HOLD"
    assert story.say(SignUp("7", "SK_SB", city="Киров", extra='{"status": "ON_HOLD"}')) == []
    story.say(CardChanged("7", 78, "NEW"))
    ((_, known),) = story.say(SignUp("7", status=SignUpStatus.CONNECTED))
    assert known.stage == "CONVERTED"
    assert len(Story(SIGN_UPS).say(SignUp("8", extra="[]"))) == 1


def test_words_without_a_phone_are_a_comment_all_the_same() -> None:
    story = Story(MESSAGES)
    said = Message("15/a", Direction.IN, Origin.OPERATOR, "OTHER", "15", None, "support", "Здравствуйте")
    ((topic, comment),) = story.say(said)
    assert (topic, comment.ext_id, comment.phone, comment.text) == (CARDS, "abonent:15", None, "Здравствуйте")


def test_a_template_that_can_not_be_filled_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\$stage"):
        DomofonRules(stage_messages={"NEW": "100 $"})


def test_a_sign_up_that_changes_changes_its_lead() -> None:
    story = Story(SIGN_UPS)
    made = CardReceipt("7", "k", CardAction.CREATE_CARD, CardOutcome.SUCCESS, 78)
    new = SignUp("7", "SK_SB", "15", "79990000001", city="Киров", street="Ленина", status=SignUpStatus.UNPROCESSED)
    story.say(new)
    story.say(made)
    ((_, told),) = story.say(SignUp("7", street="Мира"))
    assert (told.action, told.comment) == (CardAction.UPDATE_CARD, "адрес: Киров, Мира, компания: SK_SB")
    assert (told.title, told.phone, told.stage, told.unset) == (None, None, None, ())
    ((_, told),) = story.say(SignUp("7", abonent_phone="79990000002"))
    assert (told.phone, told.old_phone, told.comment) == ("+79990000002", "+79990000001", None)
    ((_, told),) = story.say(SignUp("7", unset=("abonent_phone",)))
    assert (told.action, told.unset, told.phone, told.old_phone) == (
        CardAction.UPDATE_CARD, ("phone",), None, "+79990000002"
    )  # fmt: skip
    ((_, told),) = story.say(SignUp("7", unset=("city", "street", "company")))
    assert told.comment == "", "all of it is gone"
    assert story.say(SignUp("7", uid="u", extra="{}")) == [], "no card shows it"


def test_a_sign_up_whose_lead_is_not_known_yet_is_told_whole() -> None:
    story = Story(SIGN_UPS)
    story.say(SignUp("7", "SK_SB", "15", "79990000001", city="Киров", status=SignUpStatus.UNPROCESSED))
    ((_, told),) = story.say(SignUp("7", city="Пермь"))
    assert (told.action, told.title, told.phone, told.stage) == (
        CardAction.UPDATE_CARD, "Заявка на подключение 7", "+79990000001", "NEW"
    )  # fmt: skip


def test_a_phone_that_comes_with_a_status_is_not_left_out() -> None:
    """A move changes the card, not the person."""
    story = Story(SIGN_UPS)
    story.say(SignUp("7", "SK_SB", "15", "79990000001", status=SignUpStatus.UNPROCESSED))
    ((_, told),) = story.say(SignUp("7", abonent_phone="79990000002", status=SignUpStatus.REJECTED))
    assert (told.action, told.phone, told.stage) == (CardAction.UPDATE_CARD, "+79990000002", "JUNK")
