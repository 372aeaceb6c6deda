"""What the operator's Kafka may bring that is not what the contract says: none of it ends the bridge."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.rosdomofon.foreign import StoredRecord, rows_of
from schemas.codec.encoding import row_encoder
from schemas.errors import UndecodableRecord
from schemas.record import contract

MESSAGE: dict[str, Any] = {"fromAbonent": {"id": 1, "phone": 79131234567}, "message": "Здравствуйте"}
SIGN_UP: dict[str, Any] = {"id": 1, "abonent": {"id": 1, "phone": 79131234567}}
SECRET = "Ленина 1"


def read(topic: str, value: object) -> Any:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return rows_of(StoredRecord(topic, 0, 0, 1, raw))[0]


def open_ended(more: bytes) -> bytes:
    """The message with one more field, as bytes that no JSON writer would write."""
    return json.dumps(MESSAGE).encode()[:-1] + b',"more":' + more + b"}"


@pytest.mark.parametrize(
    "value",
    [
        b"", b"null", b"[]", b"5", b"{", b"\xff\xfe", b"[" * 10_000, b'{"a":' * 10_000,
        json.dumps(MESSAGE).encode("utf-16"), json.dumps(MESSAGE, ensure_ascii=False).encode("cp1251"),
        open_ended(b"[" * 10_000 + b"]" * 10_000), open_ended(b"9" * 5_000), open_ended(b'"\\ud800"'),
        b"x" * (1024 * 1024 + 1),
    ],
)  # fmt: skip
def test_what_is_no_json_is_told(value: bytes) -> None:
    with pytest.raises(UndecodableRecord) as caught:
        read("MESSAGES_IN_A", value)
    assert caught.value.reason in ("not_json", "invalid", "too_large")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"fromAbonent": None}, "fromAbonent"),
        ({"fromAbonent": [SECRET]}, "fromAbonent"),
        ({"fromAbonent": {"id": 10**30}}, "fromAbonent.id"),
        ({"fromAbonent": {"id": 1.5}}, "fromAbonent.id"),
        ({"message": {}}, "message"),
        ({"message": True}, "message"),
        ({"message": SECRET * 10_000}, "message"),
        ({"localizedPush": {"message": []}}, "localizedPush.message"),
    ],
)
def test_a_wrong_field_is_named_and_not_shown(change: dict[str, Any], named: str) -> None:
    with pytest.raises(UndecodableRecord) as caught:
        read("MESSAGES_IN_A", MESSAGE | change)
    assert f"MESSAGES_IN_A: {named}: " in caught.value.message
    assert SECRET not in caught.value.message
    assert len(caught.value.message) < 500


@pytest.mark.parametrize(
    "moment",
    [10**25, -(10**14), "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "yesterday", True, [], {}, 1e300],
)
def test_a_moment_that_is_none_is_kept_and_costs_nothing_else(moment: object) -> None:
    row = read("SIGN_UPS_A", SIGN_UP | {"createdAt": moment})
    assert (row.ext_id, row.created_at) == ("1", None)
    assert json.loads(row.extra) == {"createdAt": moment}


PHONES = {
    "79131234567": [79131234567, "79131234567", "+7 913 123-45-67", "8 (913) 123-45-67", 89131234567, "9131234567",
                    9131234567, "007 913 1234567"],
    "375291234567": [375291234567, "+375 29 123-45-67", "00375291234567"],
    "998901234567": [998901234567, "998 90 123 45 67"],
    None: [None, 0, "0", "", "  ", "000"],
}  # fmt: skip


@pytest.mark.parametrize(("phone", "came"), [(p, c) for p, all_of in PHONES.items() for c in all_of])
def test_phones_of_any_form_are_read(phone: str | None, came: object) -> None:
    said = read("MESSAGES_IN_A", MESSAGE | {"fromAbonent": {"id": 1, "phone": came}})
    wish = read("SIGN_UPS_A", SIGN_UP | {"abonent": {"id": 1, "phone": came}})
    assert (said.abonent_phone, said.text, said.extra) == (phone, "Здравствуйте", None)
    assert (wish.abonent_phone, wish.abonent_ext_id, wish.extra) == (phone, "1", None)
    for row in (said, wish):
        row_encoder(contract(type(row)))(row)


@pytest.mark.parametrize("phone", [True, 79131234567.5, "нет", 10**30, "1" * 41, [], {"a": 1}, "+7913abc", -5, 7913])
def test_what_is_no_phone_is_kept_beside(phone: object) -> None:
    said = read("MESSAGES_IN_A", MESSAGE | {"fromAbonent": {"id": 1, "phone": phone}})
    assert (said.abonent_phone, said.text, said.abonent_ext_id) == (None, "Здравствуйте", "1")
    assert json.loads(said.extra) == {"fromAbonent": {"phone": phone}}


ADDRESS: dict[str, Any] = {
    "country": {"shortName": "RU", "name": "Россия"}, "city": "Пермь", "street": {"id": 1, "name": "Ленина"},
    "house": {"id": 1, "number": "10"}, "entrance": {"id": 2, "number": "1"}, "flat": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "line", "extra"),
    [
        ({"flat": "12А"}, "Пермь, Ленина, 10, подъезд 1, кв. 12А", {"address": {"flat": "12А"}}),
        ({"flat": "12"}, "Пермь, Ленина, 10, подъезд 1, кв. 12", None),
        ({"flat": None}, "Пермь, Ленина, 10, подъезд 1", None),
        ({"flat": 10**30}, f"Пермь, Ленина, 10, подъезд 1, кв. {10**30}", {"address": {"flat": str(10**30)}}),
        ({"flat": [1]}, "Пермь, Ленина, 10, подъезд 1", {"address": {"flat": [1]}}),
        ({"house": {"number": 10, "block": 2}}, "Пермь, Ленина, 10 к. 2, подъезд 1, кв. 1", None),
        ({"house": "10/2"}, "Пермь, Ленина, 10/2, подъезд 1, кв. 1", None),
        ({"house": 10, "street": "Мира"}, "Пермь, Мира, 10, подъезд 1, кв. 1", None),
        (
            {"house": {"id": "x", "number": "10"}},
            "Пермь, Ленина, 10, подъезд 1, кв. 1",
            {"address": {"house": {"id": "x"}}},
        ),
        ({"country": "KZ", "city": 5}, "5, Ленина, 10, подъезд 1, кв. 1", None),
        ({"country": ["Марс"]}, "Пермь, Ленина, 10, подъезд 1, кв. 1", {"address": {"country": ["Марс"]}}),
        ({"entrance": {"additionalFlatRanges": None}}, "Пермь, Ленина, 10, кв. 1", None),
        (
            {"entrance": {"additionalFlatRanges": [{"flatStart": "?", "flatEnd": 4}, 7]}},
            "Пермь, Ленина, 10, кв. 1",
            {"address": {"entrance": {"additionalFlatRanges": {"0": {"flatStart": "?"}, "1": 7}}}},
        ),
        ({"zip": "614000"}, "Пермь, Ленина, 10, подъезд 1, кв. 1", {"address": {"zip": "614000"}}),
    ],
)
def test_no_sign_up_is_lost_for_a_part_of_its_address(
    change: dict[str, Any], line: str, extra: dict[str, Any] | None
) -> None:
    row = read("SIGN_UPS_A", SIGN_UP | {"address": ADDRESS | change})
    assert row.address == line
    assert (json.loads(row.extra) if row.extra else None) == extra
    row_encoder(contract(type(row)))(row)


@pytest.mark.parametrize(
    ("change", "extra"),
    [
        ({"id": "1"}, None),
        ({"abonent": {"id": "1", "phone": 79131234567}}, None),
        ({"abonent": None}, None),
        ({"abonent": {"phone": 79131234567}}, {"abonent": {"phone": 79131234567}}),
        ({"abonent": "Иван"}, {"abonent": "Иван"}),
        ({"address": None, "application": None, "virtual": None, "status": None}, None),
        ({"address": "Пермь, Ленина 10"}, {"address": "Пермь, Ленина 10"}),
        ({"status": "ON_HOLD"}, {"status": "ON_HOLD"}),
        ({"status": 7}, {"status": "7"}),
        ({"status": {"code": 7}}, {"status": {"code": 7}}),
        ({"virtual": "maybe", "offerSigned": "true"}, {"virtual": "maybe"}),
        ({"createdAt": "1690216032782"}, None),
        ({"createdAt": "2023-07-24 16:27:12"}, None),
        ({"createdAt": "24.07.2023"}, {"createdAt": "24.07.2023"}),
        ({"contractNumber": 12, "timeZone": 5, "uid": 9}, None),
    ],
)
def test_no_sign_up_is_lost_for_a_detail(change: dict[str, Any], extra: dict[str, Any] | None) -> None:
    row = read("SIGN_UPS_A", SIGN_UP | change)
    assert row.ext_id == "1"
    assert (json.loads(row.extra) if row.extra else None) == extra
    row_encoder(contract(type(row)))(row)


def test_without_its_id_it_is_refused_by_the_first_thing_that_is_wrong() -> None:
    with pytest.raises(UndecodableRecord, match=r"SIGN_UPS_A: id: "):
        read("SIGN_UPS_A", {"id": "x", "abonent": {}, "status": []})


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        (b"1e999", "Infinity"),
        (b"-1e999", "-Infinity"),
        (b"[NaN]", ["NaN"]),
        (b"1" + b"0" * 30, 10**30),
        (b'"\\u0000\\u001b[31m"', "\0\x1b[31m"),
    ],
)
def test_an_unknown_field_is_kept_as_json(more: bytes, kept: object) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    row = read("MESSAGES_IN_A", open_ended(more))
    assert json.loads(row.extra, parse_constant=refuse) == {"more": kept}


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
PLACES = [
    ("fromAbonent", "phone"), ("toAbonents",), ("localizedPush",), ("abonent",), ("address",), ("address", "house"),
    ("address", "entrance", "additionalFlatRanges"), ("address", "flat"), ("application", "id"), ("status",),
    ("createdAt",), ("broadcast",), ("virtual",),
]  # fmt: skip


@given(
    st.sampled_from(["MESSAGES_IN_A", "SIGN_UPS_A"]), st.lists(st.tuples(st.sampled_from(PLACES), anything), max_size=6)
)
def test_whatever_stands_beside_an_id_the_record_is_read(
    topic: str, changes: list[tuple[tuple[str, ...], Any]]
) -> None:
    doc = json.loads(json.dumps(MESSAGE | SIGN_UP | {"address": ADDRESS}))
    for place, value in changes:
        holder = doc
        for name in place[:-1]:
            holder = holder[name] if isinstance(holder.get(name), dict) else holder.setdefault(f"{name}_", {})
        holder[place[-1]] = value
    row = read(topic, doc)
    assert row.ext_id.partition("/")[0] == "1"
    if row.extra and len(row.extra) < 60_000:
        json.loads(row.extra)


def test_items_of_a_list_keep_what_was_set_aside_apart() -> None:
    ranges = [7, {"flatStart": "?", "flatEnd": [1]}, 8, {"flatStart": 1, "flatEnd": "!"}]
    entrance = {"entrance": {"additionalFlatRanges": ranges}}
    row = read("SIGN_UPS_A", SIGN_UP | {"address": ADDRESS | entrance})
    kept = json.dumps(json.loads(row.extra)["address"]["entrance"], ensure_ascii=False)
    for value in ("7", "8", '"?"', "[1]", '"!"'):
        assert value in kept
