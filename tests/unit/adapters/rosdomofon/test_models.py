"""The models of RosDomofon: what is written is read again, and what is no message is refused with its place."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.rosdomofon.address import Address
from adapters.rosdomofon.kafka.models import KafkaIncomingMessage, KafkaOutgoingMessage, SignUp
from adapters.rosdomofon.rest.models import Account, Message, SendMessageRequest
from adapters.rosdomofon.rest.pages import Page
from adapters.rosdomofon.wire import Wire, mask

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
maybe = st.none() | texts
ids = st.integers(0, 2**63 - 1)
phones = st.integers(70_000_000_000, 79_999_999_999)
flags = st.none() | st.booleans()
extras = st.dictionaries(st.from_regex(r"zz[a-z]{0,5}", fullmatch=True), st.none() | st.integers() | texts, max_size=2)
moments = st.integers(-(10**12), 4 * 10**12).map(lambda ms: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(0, 0, 0, ms))


def some(required: dict[str, st.SearchStrategy[Any]], **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    known = st.fixed_dictionaries(required, optional=optional)
    return st.tuples(known, extras).map(lambda both: both[1] | both[0])


streets = some({}, id=ids, name=maybe, codeFias=maybe, codeKladr=maybe, universalCode=maybe)
houses = some({}, id=ids, number=maybe, block=maybe, building=maybe, housing=maybe)
addresses = some({}, city=maybe, street=streets, house=houses, flat=st.none() | ids)
senders = some({"id": ids, "phone": phones | st.just(0)}, companyId=st.none() | ids)
pushes = st.none() | some({}, message=maybe, messageKey=maybe)
incoming = some(
    {"fromAbonent": senders},
    channel=maybe,
    message=maybe,
    broadcast=flags,
    waitResponse=flags,
    localizedPush=pushes,
    chatId=maybe,
)
addressees = st.lists(st.fixed_dictionaries({"id": ids, "phone": phones | st.just(0)}), min_size=1, max_size=3)
outgoing = st.fixed_dictionaries({"message": texts.filter(bool), "toAbonents": addressees})
sign_ups = some(
    {"id": ids, "abonent": some({"id": ids}, phone=phones)},
    address=addresses,
    virtual=flags,
    status=maybe,
    createdAt=st.integers(0, 4 * 10**12),
)
people = some({"id": ids}, phone=phones | phones.map(str) | st.just(0))
messages = some({"id": ids}, abonent=people, incoming=flags, message=maybe, messageDate=moments.map(str))
owners = some({"id": ids}, phone=phones.map(str), resolved=flags)
accounts = some({"id": ids}, number=maybe, owner=owners, blocked=flags)
pages = some({"content": st.lists(messages, max_size=3)}, last=flags, totalPages=ids)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (KafkaIncomingMessage, incoming),
        (KafkaOutgoingMessage, outgoing),
        (SignUp, sign_ups),
        (Address, addresses),
        (Message, messages),
        (Account, accounts),
        (Page[Message], pages),
        (SendMessageRequest, st.fixed_dictionaries({"toAbonents": addressees, "message": texts.filter(bool)})),
    ],
)
@given(data=st.data())
def test_what_is_written_is_read_again(kind: type[Wire], values: st.SearchStrategy[Any], data: st.DataObject) -> None:
    first = kind.model_validate(data.draw(values))
    assert kind.model_validate(first.wire()) == first
    assert kind.model_validate_json(json.dumps(first.wire())) == first
    assert kind.model_validate(first.model_dump()) == first  # by our names


@given(incoming)
def test_the_text_is_message_or_else_the_push(came: dict[str, Any]) -> None:
    push = came.get("localizedPush") or {}
    message = came.get("message")
    assert KafkaIncomingMessage.model_validate(came).text == (push.get("message") if message is None else message)


@given(incoming)
def test_no_unknown_field_is_lost(came: dict[str, Any]) -> None:
    read = KafkaIncomingMessage.model_validate(came).unknown()
    assert {n: v for n, v in read.items() if n.startswith("zz")} == {n: v for n, v in came.items() if n[:2] == "zz"}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"fromAbonent": null}',
        b'{"fromAbonent": {"id": 1, "phone": "7913"}}',
        b'{"fromAbonent": {"id": 1, "phone": true}}',
        b'{"fromAbonent": {"id": 1, "phone": 79131234567.5}}',
        b'{"fromAbonent": {"id": 99999999999999999999, "phone": 0}}',
        b'{"fromAbonent": {"id": 1}, "message": "\\ud800"}',
        b'{"fromAbonent": {"id": 1}, "message": "\xff"}',
        b'{"fromAbonent": {"id": 1}, "message": "' + b"a" * 70_000 + b'"}',
        b'{"fromAbonent": {"id": 1}, "properties": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"fromAbonent": {"id": 1}, "properties": NaN',
        b'{"fromAbonent": {"id": 1}',
    ],
)
def test_what_is_no_message_is_refused(raw: bytes) -> None:
    with pytest.raises(ValidationError):
        KafkaIncomingMessage.model_validate_json(raw)


def test_a_request_has_no_unknown_fields() -> None:
    with pytest.raises(ValidationError, match="extra"):
        KafkaOutgoingMessage.model_validate({"message": "a", "toAbonents": [{"id": 1}], "x": 1})


def test_a_phone_is_masked() -> None:
    assert mask("79131234567") == mask(79131234567) == "7913*****67"
    assert mask("anything") == "*"
