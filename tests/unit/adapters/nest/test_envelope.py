"""Nest's envelope: the published messages, what is refused and how it is named, the answers' shapes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.nest.envelope import complain, read_message, write_reply
from adapters.nest.settings import NestSettings
from schemas.bitrix24 import CardAction, CardOutcome
from schemas.core_users import CardAsked, CoreReply
from schemas.errors import UndecodableRecord
from schemas.record import contract
from tests.support.values import rows

SETTINGS = NestSettings()


def message(pattern: str = "user_created", action: str = "create_card", **user: Any) -> dict[str, Any]:
    """As in docs/contracts/core-users.md#messages."""
    known = {"id": 123, "full_name": "Иван Иванов", "phone": "+77001112233", "stage": "NEW", **user}
    return {"pattern": pattern, "data": {"action": action, "user": known, "replyQueue": "bitrix.responses"}}


def read(body: Any) -> CardAsked:
    return read_message(json.dumps(body).encode(), "a1", SETTINGS)


@pytest.mark.parametrize(
    ("pattern", "action"),
    [("user_created", "create_card"), ("user_updated", "update_card"), ("user_moved", "move_card")],
)
def test_the_seeds_messages(pattern: str, action: str) -> None:
    asked = read(message(pattern, action))
    wanted = CardAction[action.upper()]
    assert asked == CardAsked("123", "a1", wanted, "Иван Иванов", "+77001112233", "NEW", "bitrix.responses")


def test_a_user_without_a_phone_is_read_for_the_rules_to_refuse() -> None:
    body = message()
    del body["data"]["user"]["phone"]
    assert read(body).phone is None


def changed(**fields: Any) -> dict[str, Any]:
    body = message()
    body["data"] |= fields
    return body


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "pattern"),
        ([], "message"),
        (7, "message"),
        ({**message(), "pattern": "user_gone"}, "pattern"),
        (message("user_moved", "create_card"), "data.action"),
        (changed(action="drop_card"), "data.action"),
        (message(id="12x"), "data.user.id"),
        (message(id=""), "data.user.id"),
        (message(id="-1"), "data.user.id"),
        (message(id=1.5), "data.user.id"),
        (message(id=str(2**63)), "data.user.id"),
        (message(id="9" * 5_000), "data.user.id"),
        (message(id=None), "data.user.id"),
        (message(id=True), "data.user.id"),
        (message(id=-1), "data.user.id"),
        (message(id=2**63), "data.user.id"),
        (message(phone=True), "data.user.phone"),
        (message(phone=[77001112233]), "data.user.phone"),
        (message(full_name="x" * 1_001), "data.user.full_name"),
        (changed(user=None), "data.user"),
        (changed(replyQueue="crm.user"), "data.replyQueue"),
        (changed(replyQueue="../x"), "data.replyQueue"),
    ],
)
def test_what_is_wrong_is_named(body: Any, named: str) -> None:
    with pytest.raises(UndecodableRecord, match=rf"^{named}: ") as refused:
        read(body)
    assert refused.value.hint


@pytest.mark.parametrize("value", [b"", b"{", b"\xff", b'{"a": NaN}', "{}".encode("utf-16"), b"[" * 100_000])
def test_what_is_no_json_is_refused(value: bytes) -> None:
    with pytest.raises(UndecodableRecord) as refused:
        read_message(value, "a1", SETTINGS)
    assert refused.value.reason == "no_json"


@given(st.binary(max_size=200))
def test_nothing_else_is_raised(value: bytes) -> None:
    with pytest.raises(UndecodableRecord):
        read_message(value, "a1", SETTINGS)


def test_the_answers_are_the_published_ones() -> None:
    done = CoreReply("123", "bitrix.responses", CardOutcome.SUCCESS, CardAction.CREATE_CARD, "Иван Иванов",
                     "+77001112233", "NEW", 456, None, 1)  # fmt: skip
    user = {"id": 123, "full_name": "Иван Иванов", "phone": "+77001112233", "stage": "NEW"}
    assert json.loads(write_reply(done)) == {
        "status": "success", "action": "create_card", "user": user, "bitrix_lead_id": 456, "attempts": 1,
    }  # fmt: skip
    failed = done._replace(status=CardOutcome.ERROR, phone=None, bitrix_lead_id=None, reason="Missing phone number")
    del user["phone"]
    assert json.loads(write_reply(failed)) == {
        "status": "error", "reason": "Missing phone number", "user": user, "attempts": 1,
    }  # fmt: skip


def test_a_user_that_no_message_can_have_named_gets_no_answer() -> None:
    """Whoever may produce to crm.core-user can make one; the bridge must not end with it, again and again."""
    with pytest.raises(UndecodableRecord, match="id of a user"):
        write_reply(CoreReply("u-1", "bitrix.responses"))


@pytest.mark.parametrize("ext_id", ["u-1", "1.0", "-1", "9" * 21, "9" * 5_000, "\x1b[31m"])
def test_an_answer_for_a_user_that_nest_can_not_have_is_told(ext_id: str) -> None:
    """Others may produce to the topic of its users, too: the bridge must not end of their ids."""
    with pytest.raises(UndecodableRecord, match="is not the id of a user") as caught:
        write_reply(CoreReply(ext_id, "bitrix.responses"))
    assert len(caught.value.message) < 200
    assert caught.value.message.isprintable()


@given(rows(contract(CoreReply)))
def test_any_answer_is_written_or_refused(reply: CoreReply) -> None:
    for row in (reply, reply._replace(ext_id="7")):
        try:
            assert json.loads(write_reply(row))["status"] in ("success", "error")
        except UndecodableRecord:
            assert row.ext_id != "7"


@pytest.mark.parametrize("id", ["123", "0", str(2**63 - 1), "0123"])
def test_ids_of_bigint_columns_come_as_texts(id: str) -> None:
    assert read(message(id=id)).ext_id == str(int(id))


def test_numbers_are_taken_for_texts() -> None:
    asked = read(message(phone=77001112233, full_name=7, stage=1))
    assert (asked.phone, asked.full_name, asked.stage) == ("77001112233", "7", "1")


def refused(value: bytes) -> UndecodableRecord:
    with pytest.raises(UndecodableRecord) as caught:
        read_message(value, "a1", SETTINGS)
    return caught.value


@pytest.mark.parametrize(
    ("body", "key", "user"),
    [
        (message(id="12x"), None, {}),
        (message(full_name=[]), b"123", {"id": 123}),
        (message(id="7", phone={}), b"7", {"id": 7}),
        (message("user_moved", "create_card"), b"123", {"id": 123}),
        ({**message(), "pattern": "user_gone"}, b"123", {"id": 123}),
        (changed(user=None), None, {}),
        (changed(action=None), b"123", {"id": 123}),
        ({"data": {"replyQueue": "bitrix.responses"}}, None, {}),
        ({"data": {"user": {"id": 5}}}, b"5", {"id": 5}),
    ],
)
def test_who_names_a_queue_is_told_what_was_wrong(body: Any, key: bytes | None, user: dict[str, Any]) -> None:
    value = json.dumps(body).encode()
    error = refused(value)
    told = complain(value, error, SETTINGS)
    assert told is not None
    assert (told.queue, told.key) == ("bitrix.responses", key)
    assert json.loads(told.value) == {"status": "error", "reason": error.message, "user": user, "attempts": 0}


@pytest.mark.parametrize(
    "body", [[], 7, None, {}, {"data": []}, {"data": {"replyQueue": []}}, changed(replyQueue="crm.user"), {"data": {}}]
)
def test_who_names_none_that_we_know_is_told_nothing(body: Any) -> None:
    value = json.dumps(body).encode()
    assert complain(value, refused(value), SETTINGS) is None


@given(st.binary(max_size=200))
def test_no_bytes_end_the_complaint(value: bytes) -> None:
    complain(value, refused(value), SETTINGS)
