"""Records from what the operator says: each field in its place, null clears, what is left out stays."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from adapters.rosdomofon import field_maps, mapping
from adapters.rosdomofon.kafka.models import KafkaIncomingMessage, Place, SignUp
from adapters.rosdomofon.rest.models import Account, Connection, Flat, Message, Owner, Service
from schemas import domofon
from schemas.codec.encoding import row_encoder
from schemas.domofon import Direction, SignUpStatus
from schemas.errors import InvalidInput
from schemas.record import contract

RANGE = {"flatStart": 73, "flatEnd": 80}
ADDRESS = {
    "country": {"shortName": "RU", "name": "Россия"},
    "city": "Иваново",
    "street": {"id": 7037, "name": "Ташкентская", "codeKladr": "37", "codeFias": "44c5"},
    "house": {"id": 65175, "number": "100", "block": "А", "building": "", "housing": None},
    "entrance": {
        "id": 26959,
        "number": "2",
        "flatStart": 37,
        "flatEnd": 72,
        "additionalFlatRanges": [RANGE],
    },
    "flat": 42,
}
OWNER = {"id": 1574870, "phone": 79990000001, "resolved": True}
AT = Place("MESSAGES_IN_SK_SB", 1, 7)


def test_every_field_of_every_record_has_its_place() -> None:
    ours = {
        domofon.Account: field_maps.ACCOUNT,
        domofon.Flat: field_maps.FLAT,
        domofon.Service: field_maps.SERVICE,
        domofon.Connection: field_maps.CONNECTION,
    }
    for record, fields in ours.items():
        assert fields.keys() == set(contract(record).fields) - {"ext_id", "unset"}


def test_an_account_whole_and_as_a_list_has_it() -> None:
    came: dict[str, Any] = {"id": 904154, "number": "ACC1", "blocked": True, "owner": OWNER, "blockReason": None}
    listed = mapping.account_row(Account.model_validate(came))
    assert (listed.ext_id, listed.number, listed.abonent_ext_id) == ("904154", "ACC1", "1574870")
    assert listed.abonent_phone == "79990000001"
    assert listed.unset == ("block_reason",)
    balance = {"balance": 1500.5, "balanceDate": 1690216032782, "currency": "RUB"}
    whole = mapping.account_row(Account.model_validate({**came, "balance": balance, "invoice": None}))
    assert (whole.balance, whole.balance_at) == (Decimal("1500.50"), 1690216032782000)
    assert {n for n in whole.unset if n.startswith("invoice")} == {n for n in whole._fields if n.startswith("invoice")}
    row_encoder(contract(domofon.Account))(whole)


def test_an_amount_beyond_all_money_is_refused_where_it_is_written() -> None:
    row = mapping.account_row(Account.model_validate({"id": 1, "balance": {"balance": 1e300}}))
    with pytest.raises(InvalidInput, match="balance"):
        row_encoder(contract(domofon.Account))(row)


def test_a_flat_and_its_connection() -> None:
    flat = mapping.flat_row(Flat.model_validate({"id": 5, "accountId": 6, "address": ADDRESS, "owner": OWNER}))
    assert flat.address == "Иваново, Ташкентская, 100 к. А, подъезд 2, кв. 42"
    assert (flat.entrance_ext_id, flat.entrance_first_flat, flat.entrance_more_flats) == ("26959", 37, ("73-80",))
    assert (flat.street_kladr, flat.block, flat.building, flat.flat) == ("37", "А", "", 42)
    assert flat.unset == ("housing",)
    service = {"id": 12345, "name": "Чат", "type": "HouseChat", "createdAt": "2023-07-24T16:27:12"}
    came = {"id": 789, "flat": {"id": 5}, "service": service, "tariff": 150.0, "blocked": False}
    connection = mapping.connection_row(Connection.model_validate(came), 6)
    assert connection[:6] == ("789", "6", "5", "12345", "HouseChat", False)
    assert connection.tariff == 150
    assert mapping.service_row(Service.model_validate(service)).created_at == 1690216032000000
    for row in (flat, connection):
        row_encoder(contract(type(row)))(row)


def test_what_an_abonent_said() -> None:
    came = {
        "fromAbonent": {**OWNER, "companyId": 1292, "restrictionPushTokenIds": []},
        "channel": "support",
        "message": None,
        "localizedPush": {"message": "Текст", "messageKey": None, "messageArgs": ["А"]},
        "providers": ["rd"],
        "brandNew": {"a": 1},
    }
    said = KafkaIncomingMessage.model_validate(came).at(AT)
    row = mapping.message_row(said, 5)
    assert (row.ext_id, row.direction, row.company) == ("1574870/MESSAGES_IN_SK_SB/1/7", Direction.IN, "SK_SB")
    assert (row.abonent_ext_id, row.abonent_phone, row.text) == ("1574870", "79990000001", "Текст")
    assert (row.source_topic, row.source_partition, row.source_offset, row.said_at) == (*AT, 5)
    assert row.push_args == '["А"]'
    extra = {"providers": ["rd"], "brandNew": {"a": 1}, "fromAbonent": {"resolved": True}}
    assert json.loads(row.extra or "") == extra
    row_encoder(contract(domofon.Message))(row)
    who = mapping.abonent_row(said.from_abonent, company="SK_SB", seen_at=5)
    assert who == domofon.Abonent("1574870", "79990000001", None, "SK_SB", 1292, 5)
    assert mapping.abonent_row(Owner.model_validate({"id": 1})).phone is None
    with pytest.raises(ValueError, match="place"):
        mapping.message_row(KafkaIncomingMessage.model_validate(came), 5)


def test_what_the_history_says() -> None:
    came = {"id": 2, "abonent": {"id": 1, "phone": 0}, "incoming": False, "message": "Ответ", "messageDate": 1000}
    row = mapping.history_row(Message.model_validate(came), 1, "SK_SB")
    assert (row.ext_id, row.direction, row.operator_message_id) == ("1/history/2", Direction.OUT, 2)
    assert (row.text, row.said_at, row.company, row.abonent_phone) == ("Ответ", 1_000_000, "SK_SB", None)


@pytest.mark.parametrize(
    ("status", "known", "extra"),
    [("UNPROCESSED", SignUpStatus.UNPROCESSED, None), ("NEW", None, '{"status": "NEW"}'), (None, None, None)],
)
def test_a_sign_up(status: str | None, known: SignUpStatus | None, extra: str | None) -> None:
    came = {"id": 566836, "abonent": {"id": 1, "phone": 79990000001}, "address": ADDRESS, "status": status}
    row = mapping.sign_up_row(SignUp.model_validate(came).at(Place("SIGN_UPS_SK_SB", 0, 3)))
    assert (row.ext_id, row.company, row.status, row.extra) == ("566836", "SK_SB", known, extra)
    assert (row.abonent_phone, row.city, row.flat) == ("79990000001", "Иваново", 42)
    row_encoder(contract(domofon.SignUp))(row)
    assert mapping.sign_up_row(SignUp.model_validate(came).at(Place("SIGN_UPS_ALL", 0, 3))).company is None
