"""What the operator's Kafka may bring that is not what the contract says: none of it ends the bridge."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.rosdomofon.crossing import Kept, rows_of
from schemas.errors import UndecodableRecord

MESSAGE: dict[str, Any] = {"fromAbonent": {"id": 1, "phone": 79131234567}, "message": "Здравствуйте"}
SIGN_UP: dict[str, Any] = {"id": 1, "abonent": {"id": 1, "phone": 79131234567}}
SECRET = "Ленина 1"


def read(topic: str, value: object) -> Any:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return rows_of(Kept(topic, 0, 0, 1, raw))[0]


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
        ({"fromAbonent": {"id": 1, "phone": 10**30}}, "fromAbonent.phone"),
        ({"fromAbonent": {"id": 1, "phone": SECRET}}, "fromAbonent.phone"),
        ({"fromAbonent": {"id": 1, "phone": 79131234567.5}}, "fromAbonent.phone"),
        ({"message": 5}, "message"),
        ({"message": SECRET * 10_000}, "message"),
        ({"toAbonents": {}}, "toAbonents"),
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
def test_a_moment_that_is_none_is_told(moment: object) -> None:
    with pytest.raises(UndecodableRecord, match=r"SIGN_UPS_A: createdAt: "):
        read("SIGN_UPS_A", SIGN_UP | {"createdAt": moment})


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
