"""Comments by the portal's sink: their receipts, and that the ledger keeps nothing of what is done."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from adapters.bitrix24.leads import read_lead
from adapters.bitrix24.rest.answers import Unreadable
from schemas.bitrix24 import CardCommand, CardOutcome, CommentCommand, CommentReceipt
from schemas.errors import DeliveryFailed, DeliveryRefused, DeliveryUnavailable, OutcomeUnknown
from streams.domains.core_users import USERS
from tests.support.desk import TOPIC, Desk, cards
from tests.support.local import local_serde

COMMENT = CommentCommand(
    "abonent:15", "c-1", "Не открывается", reply_topic="domofon.message", reply_ext_id="15/MESSAGES_IN_X/0/7"
)


class Commented(NamedTuple):
    comment_id: int
    lead_id: int


class Port:
    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls: list[tuple[int, bool]] = []

    async def check(self, command: Any) -> None: ...

    async def deliver(self, command: Any, attempt: int, uncertain: bool) -> Commented:
        self.calls.append((attempt, uncertain))
        if self.errors:
            raise self.errors.pop(0)
        return Commented(400, 77)


async def desk(*errors: Exception) -> Desk:
    serde, _ = await local_serde(TOPIC, "bitrix.responses", "domofon.message")
    return Desk(serde, Port(*errors))


async def receipts(at: Desk, row: Any = COMMENT) -> list[CommentReceipt]:
    writes = await at.execute(row)
    assert {topic for topic, _ in writes} <= {"bitrix.responses", "domofon.message", "memory"}
    return [await at.serde.decode(topic, entry.value or b"") for topic, entry in writes]  # type: ignore[misc]


async def test_a_comment_is_told_to_its_message_and_then_forgotten() -> None:
    at = await desk()
    answer, told = await receipts(at)
    assert answer == told
    assert (told.ext_id, told.comment_outcome, told.comment_id, told.comment_lead_id) == (
        "15/MESSAGES_IN_X/0/7", CardOutcome.SUCCESS, 400, 77
    )  # fmt: skip
    assert list(at.state.scan(b"ledger")) == []


async def test_a_comment_of_unknown_outcome_is_looked_for() -> None:
    at = await desk(OutcomeUnknown("no answer"))
    await receipts(at)
    assert at.port.calls == [(1, False), (2, True)]


async def test_a_refused_comment_parks_what_comes_after_it() -> None:
    at = await desk(DeliveryRefused("no such lead"))
    answer, _ = await receipts(at)
    assert (answer.comment_outcome, answer.comment_reason) == (CardOutcome.ERROR, "delivery_refused: no such lead")
    assert b"abonent:15" in at.parking
    assert await at.execute(COMMENT._replace(command_id="c-2"), 6) == []


@pytest.mark.parametrize("wrong", [{"command_id": ""}, {"reply_topic": "estate.lead"}])
async def test_a_comment_that_can_not_be_carried_is_a_dead_letter(wrong: dict[str, str]) -> None:
    at = await desk()
    ((topic, _),) = await at.execute(COMMENT._replace(**wrong))
    assert topic == "dead-letters"


def test_the_core_service_waits_for_the_receipt_of_a_card_and_nothing_waits_for_that_of_a_premise() -> None:
    asked = [CardCommand("1", "c-1", USERS), CardCommand("1", "c-1", "estate.lead"), COMMENT]
    assert [cards().accept(command).prompt for command in asked] == [True, False, False]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda: read_lead({"ID": "no number"}), DeliveryFailed),
        (lambda: fail(Unreadable("list", "none")), DeliveryUnavailable),
    ],
)
async def test_a_lead_that_cant_be_read_fails_alone_and_another_answer_is_an_outage(answer: Any, error: type) -> None:
    class Cards:
        async def deliver(self, command: Any, attempt: int, uncertain: bool) -> Any:
            return answer()

    with pytest.raises(error) as caught:
        await cards(Cards()).deliver(CardCommand("1", "c-1", "estate.lead"), None, 1, False)
    assert caught.value.kind == ("failed" if error is DeliveryFailed else "unavailable")


def fail(error: Exception) -> Any:
    raise error
