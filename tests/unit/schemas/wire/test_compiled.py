"""The fast reading of external messages is held to the strict one."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InvalidInput
from schemas.external import from_outside, parse_json, to_outside
from schemas.fields import Label
from schemas.record import Contract
from schemas.wire.compiled import common_reader
from schemas.wire.passwords import concealed
from schemas.wire.strict import plain_type, read_strictly
from tests.support.values import same
from tests.unit.schemas.test_external import ANYTHING, ESTATE, sayable

NUMBERS = st.sampled_from(
    [0, 1, -7, 2**63 - 1, 2**63, -(2**63), Decimal("1.5"), Decimal("-0.0"), Decimal("1E+3"), "12"]
)
MONEY = st.sampled_from([Decimal("0.005"), Decimal("1e18"), Decimal("99.90"), Decimal("NaN"), Decimal("1e999999999")])
TEXTS = st.sampled_from(
    ["", "a", "12А", "0012", "x" * 65_536, "x" * 65_537, "a\nb", "\ud83d\ude00", "\u200b", " 7", "١"]
)
DATES = st.sampled_from(["2026-01-31", "2026-02-30", "2026-01-31T09:00:00+05:00", "09:30", "9:30", "24:00"])
LISTS = st.lists(st.sampled_from(["mortage", "Bill", "sign_x", "\ud800", None, 1]), max_size=3)
LIKELY = NUMBERS | MONEY | TEXTS | DATES | LISTS | st.none() | st.booleans() | st.floats()


def names_of(of: Contract) -> list[str]:
    return sorted({name for names in of.accepted_names.values() for name in names})


def labels_of(of: Contract) -> st.SearchStrategy[str]:
    kinds = [plain_type(hint) for hint in of.hints.values()]
    found = [label for kind in kinds if isinstance(kind, type) and issubclass(kind, Label) for m in kind
             for label in (m.label, *m.also, m.label.upper())]  # fmt: skip
    return st.sampled_from(found or ["none"])


@given(st.data())
def test_what_is_read_fast_is_read_as_the_strict_reading_does(data: st.DataObject) -> None:
    of = data.draw(st.sampled_from(ESTATE))
    message = data.draw(st.dictionaries(st.sampled_from(names_of(of)), LIKELY | labels_of(of) | ANYTHING))
    message |= {of.wire_names[of.key]: data.draw(st.sampled_from(["id", "id", 7, "", None, "a\x7f", "\ud800", 10**20]))}
    row = common_reader(of)(message)
    if row is not None:
        assert same(row, read_strictly(of, message))


@given(st.data())
def test_what_we_write_ourselves_is_read_fast(data: st.DataObject) -> None:
    of = data.draw(st.sampled_from(ESTATE))
    row = data.draw(sayable(of))
    message = to_outside(row)[1]
    fast = common_reader(of)(message)
    assert fast == row or (fast is None and read_strictly(of, message) == row)
    plain = {name: None if isinstance(value, str | list) else value for name, value in message.items()}
    plain = {k: v for k, v in plain.items() if not isinstance(v, float | Decimal)} | {of.wire_names[of.key]: "id"}
    assert common_reader(of)(plain) is not None


def test_a_name_twice_in_an_object_is_refused() -> None:
    with pytest.raises(InvalidInput, match="ext_id: expected a name once in an object, came '2 times'"):
        parse_json(b'{"data": [{"ext_id": "a", "x": 1, "ext_id": "a"}]}')


@pytest.mark.parametrize("raw", [b' {"a": 1} ', b"\n[1]\r\n", b"1"])
def test_space_around_a_value_is_json(raw: bytes) -> None:
    assert parse_json(raw) == json.loads(raw)


SECRET = "hunter2"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"ext_id": "u", "password": "hunter2',
        b'{"password": "hunter2" "x": 1}',
        b'{"password": "hunter2\xff"}',
        b'{"password": hunter2}',
    ],
)
def test_the_place_of_an_error_shows_no_password(raw: bytes) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_json(raw)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        [{"password": SECRET}],
        f'{{"password": "{SECRET}"}}',
        {"ext_id": {"Password": SECRET}, "password": SECRET},
        {"ext_id": "u", "role": [[{"new_password": SECRET}]], "avatar": f'{{"password":"{SECRET}"}}' * 9_999},
    ],
)
def test_a_refused_message_shows_no_password(data: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        from_outside("user", data)
    assert SECRET not in json.dumps(caught.value.as_dict())


def test_a_password_is_accepted_and_kept_nowhere() -> None:
    row = from_outside("user", {"ext_id": 12, "password": SECRET, "username": "ada"})
    assert SECRET not in repr(row)
    assert row[0] == "12"
    assert concealed({"a": [{"passWord": SECRET, "b": 1}]}) == {"a": [{"passWord": "•••", "b": 1}]}
