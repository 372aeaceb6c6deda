"""Commands for the operator: which are taken, and whom their receipts reach."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from adapters.rosdomofon.connector import SINKS
from adapters.rosdomofon.sink import COMMANDS, REQUESTS, RESPONSES, RosDomofonRestSink, RosDomofonSink
from schemas.bitrix24 import CardCommand
from schemas.errors import DeliveryRefused, UndecodableRecord
from schemas.rosdomofon import OperatorAction, OperatorCommand, OperatorOutcome
from streams.ports import Outcome, Sent
from tests.support.desk import Desk, Record
from tests.support.local import local_serde, raw

SINK = RosDomofonSink(None)  # type: ignore[arg-type]  # no operator is called
ASKED = OperatorCommand(
    "abonent:15", "c-1", OperatorAction.SEND_MESSAGE, reply_topic="domofon.message", reply_ext_id="15/comment/7"
)


class Delivered(NamedTuple):
    place: str


def test_a_command_is_its_own_subject_and_not_remembered_for_ever() -> None:
    for asked in (ASKED._replace(by_rest=True), ASKED._replace(action=OperatorAction.BLOCK)):
        accepted = SINK.accept(asked)
        assert accepted[:4] == ("c-1", "operator:c-1", None, False)
        assert not accepted.self_deduplicating


def test_kafka_and_rest_are_apart_and_their_names_are_known_to_the_commands_that_ask_for_them() -> None:
    sinks = [SINK, RosDomofonRestSink(None)]  # type: ignore[arg-type]
    assert [sink.topic for sink in sinks] == [COMMANDS, REQUESTS]
    assert all(SINKS[sink.name] == sink.topic for sink in sinks)


def test_of_what_an_abonent_is_told_on_kafka_the_last_place_is_known() -> None:
    accepted = SINK.accept(ASKED)
    assert accepted[:5] == ("c-1", "said:abonent:15", None, True, True)


@pytest.mark.parametrize("by_rest", [False, True])
def test_a_person_waits_for_the_receipt_of_an_answer_and_nobody_for_an_automatic_one_or_a_block(by_rest: bool) -> None:
    asked = ASKED._replace(by_rest=by_rest)
    others = (asked._replace(reply_topic=""), asked._replace(action=OperatorAction.BLOCK))
    assert [SINK.accept(command).prompt for command in (asked, *others)] == [True, False, False]


async def test_no_intent_is_written_for_it_and_only_what_another_may_have_tried_is_uncertain() -> None:
    serde, _ = await local_serde(COMMANDS, *SINK.receipt_topics)
    calls: list[tuple[str, bool]] = []

    class Operator:
        async def deliver(self, command: OperatorCommand, attempt: int, uncertain: bool) -> Delivered:
            calls.append((command.last_place, uncertain))
            return Delivered(f"OUT/0/{len(calls)}")

    it = Desk(serde, None, RosDomofonSink(Operator()))  # type: ignore[arg-type]
    for inherited in (True, False):
        record: Any = Record(*raw(serde, COMMANDS, ASKED, 5), topic=COMMANDS)
        job = replace(it.job(record), inherited=inherited)
        await it.commit(await it.executor.execute(job))
    assert calls == [("", True), ("OUT/0/1", False)]
    assert len(it.committed) == 2 * 3, "two receipts and the place, each"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (CardCommand("1"), "foreign_record"),
        (ASKED._replace(command_id=""), "missing_key"),
        (ASKED._replace(ext_id=""), "missing_key"),
        (ASKED._replace(reply_topic="estate.lead"), "unknown_reply_topic"),
    ],
)
def test_what_is_no_command_of_ours(row: object, reason: str) -> None:
    with pytest.raises(UndecodableRecord) as caught:
        SINK.accept(row)
    assert caught.value.reason == reason


def test_a_receipt_goes_to_who_asked_and_says_where_the_message_stands() -> None:
    topics, receipt = SINK.receipts(ASKED, Outcome(2, Sent("MESSAGES_OUT_SK_SB/0/4")))
    assert topics == [RESPONSES, "domofon.message"]
    assert (receipt.ext_id, receipt.operator_attempts) == ("15/comment/7", 2)
    assert (receipt.operator_outcome, receipt.operator_place) == (OperatorOutcome.SUCCESS, "MESSAGES_OUT_SK_SB/0/4")
    as_asked = ("operator_edits", "operator_edits_private")
    assert receipt.unset == ("operator_reason", *as_asked)
    nowhere = SINK.receipts(ASKED, Outcome(1, Sent("")))[1]
    assert (nowhere.operator_place, nowhere.unset) == (None, ("operator_reason", "operator_place", *as_asked))


def test_who_wants_no_receipt_gets_none_and_a_refusal_says_why() -> None:
    topics, receipt = SINK.receipts(
        ASKED._replace(reply_topic="", reply_ext_id=""), Outcome(1, error=DeliveryRefused("no push token"))
    )
    assert topics == [RESPONSES]
    assert receipt.ext_id == "abonent:15"
    assert receipt.operator_outcome == OperatorOutcome.ERROR
    assert receipt.operator_reason == "delivery_refused: no push token"


def test_receipts_reach_every_aggregate_that_may_ask() -> None:
    assert set(SINK.receipt_topics) == {RESPONSES, "domofon.message", "domofon.abonent", "domofon.sign-up"}
