"""JSON from outside: what is taken, how it is mapped, and that each bad input gets its own clear error."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.bitrix24 import CardCommand
from schemas.errors import InvalidInput
from schemas.estate import Lead, LeadOp, LeadState, Premise, Project
from schemas.external import from_outside, parse_json, to_outside
from schemas.fields import EachOf, IfNumber, Internal, NumberText, WholeAsText, to_micros
from schemas.record import Contract, contracts, declare_all, marks
from schemas.wire.strict import is_time, number_of_text
from tests.support.values import rows

declare_all()
ESTATE = [c for c in contracts() if c.domain == "estate" and c.outside]
DAYS = (to_micros(datetime(1, 1, 1, tzinfo=UTC)), to_micros(datetime(9999, 12, 31, tzinfo=UTC)))


def refusal(word: str, data: object) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        from_outside(word, data)
    return caught.value


LETTERS = st.characters(exclude_categories=["Cc", "Cs"])
KEPT = {
    "date": st.dates().map(str),
    "time": st.times().map(lambda t: f"{t:%H:%M}"),
    "request_date": st.datetimes().map(lambda t: t.isoformat()),
    "request_time": st.times().map(lambda t: f"{t:%H:%M}"),
    "birth_date": st.dates().map(str),
    "work_start_date": st.dates().map(str),
}
"""Values of texts that have a form, by field."""
SOURCE = {"update_id", "source_update_id"}


def is_number_pair(of: Contract, name: str) -> bool:
    return any(isinstance(m, IfNumber | NumberText) for m in marks(of.hints[name]))


@st.composite
def sayable(draw: st.DrawFn, of: Contract) -> Any:
    """Rows that the outside could have sent: valid ids, known symbols, times of the calendar, no field both set and
    unset, no field that only Kounter has."""
    row = draw(rows(of))._asdict()
    for name, value in row.items():
        found = marks(of.hints[name])
        if any(isinstance(m, Internal) for m in found):
            row[name] = of.defaults[name]
        elif value is None:
            continue
        elif name in KEPT:
            row[name] = draw(KEPT[name])
        elif any(isinstance(m, EachOf) for m in found):
            words = next(m.labels for m in found if isinstance(m, EachOf))
            row[name] = tuple(draw(st.lists(st.sampled_from([w.value for w in words]), max_size=3)))
        elif any(isinstance(m, WholeAsText) for m in found):
            row[name] = draw(st.text(LETTERS, min_size=1, max_size=9))
        elif value == "UNKNOWN" or (isinstance(value, Decimal | float) and abs(value) >= 2**63):
            row[name] = None
        elif is_time(of.hints[name]):
            row[name] = draw(st.integers(*DAYS))
    unset = set[str]()
    for name in [n for n in row if any(isinstance(m, NumberText) for m in marks(of.hints[n]))]:
        number = name.removesuffix("_text")
        row[name] = draw(st.none() | st.integers(-(2**63), 2**63 - 1).map(str) | st.text(LETTERS, max_size=5))
        row[number] = None if row[name] is None else number_of_text(row[name])
        if (row[name] is not None and row[number] is None) or (row[name] is None and draw(st.booleans())):
            unset |= {number} | ({name} if row[name] is None else set())
    absent = [n for n in of.said if row[n] is None and n not in SOURCE and not is_number_pair(of, n)]
    unset |= draw(st.sets(st.sampled_from(absent))) if absent else set()
    return of.record(**{**row, "unset": tuple(n for n in of.fields if n in unset)})


@given(st.data())
def test_a_row_goes_outside_and_comes_back(data: st.DataObject) -> None:
    row = data.draw(sayable(data.draw(st.sampled_from(ESTATE))))
    word, said = to_outside(row)
    back = from_outside(word, said)
    assert back == row
    assert all(type(v) in (str, int, float, bool, Decimal, tuple, type(None)) for v in back)


def test_names_and_words_are_the_outsides() -> None:
    said = {"ext_id": "p", "purchaseOption": "mortage", "similiarApartmentCount": "3", "mortagePayment": 10.5, "x": {}}
    row = from_outside("PREMISE", said)
    expected = Premise(
        "p",
        purchase_option="MORTGAGE",
        similar_apartment_count=3,
        mortgage_payment=Decimal("10.50"),  # type: ignore[arg-type]
    )
    assert row == expected
    assert to_outside(row)[1] == {
        "ext_id": "p",
        "purchaseOption": "mortage",
        "similiarApartmentCount": 3,
        "mortagePayment": Decimal("10.5"),
    }


def test_the_ext_id_of_a_status_change_is_its_own() -> None:
    row = from_outside("lead_op", {"lead_ext_id": "l", "ext_id": "op", "status": "слетевшая бронь"})
    assert row == LeadOp("l", op_ext_id="op", status="LOST_BOOK")  # type: ignore[arg-type]


def test_absent_stays_null_clears() -> None:
    assert from_outside("lead", {"ext_id": "l", "fee": None, "state": None}) == Lead("l", unset=("fee", "state"))
    assert from_outside("lead", {"ext_id": "l", "update_id": None, "unset": ["fee"]}) == Lead("l")
    assert to_outside(Lead("l", unset=("fee", "gone")))[1] == {"ext_id": "l", "fee": None}


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T09:00:00.000001Z", datetime(2026, 1, 31, 9, microsecond=1, tzinfo=UTC)),
        ("2026-01-31T09:00:00+05:00", datetime(2026, 1, 31, 4, tzinfo=UTC)),
    ],
)
def test_times(text: str, moment: datetime) -> None:
    row = from_outside("project", {"ext_id": "p", "end_date": text})
    assert isinstance(row, Project)
    assert row.end_date == to_micros(moment)


@pytest.mark.parametrize(
    ("word", "data", "field", "expected"),
    [
        ("gossip", {}, "type", "one of "),
        ("lead", [], "data", "an object"),
        ("lead", {}, "ext_id", "a value"),
        ("lead", {"ext_id": None}, "ext_id", "a text"),
        ("lead", {"ext_id": 12.0}, "ext_id", "a text or a whole number"),
        ("lead", {"ext_id": Decimal("12")}, "ext_id", "a text or a whole number"),
        ("lead", {"ext_id": True}, "ext_id", "a text or a whole number"),
        ("lead", {"ext_id": 10**255}, "ext_id", "a text of at most 255"),
        ("lead", {"ext_id": ""}, "ext_id", "a text of at least 1"),
        ("lead", {"ext_id": "x" * 256}, "ext_id", "a text of at most 255"),
        ("lead", {"ext_id": "a\r\nb"}, "ext_id", "a text without control characters"),
        ("lead", {"ext_id": "\ud800"}, "ext_id", "a text of whole Unicode characters"),
        ("lead", {"ext_id": "l", "state": "active"}, "state", "one of 'Активные', 'На паузе'"),
        ("lead", {"ext_id": "l", "state": ["Активные"]}, "state", "one of"),
        ("lead", {"ext_id": "l", "fee": True}, "fee", "a number with at most 2 decimals"),
        ("lead", {"ext_id": "l", "fee": 2**63}, "fee", "a number with at most 2 decimals, below 2**63"),
        ("lead", {"ext_id": "l", "fee": "1.005"}, "fee", "a number with at most 2 decimals"),
        ("lead", {"ext_id": "l", "fee": Decimal("1e999999999")}, "fee", "a number with at most 2 decimals"),
        ("lead", {"ext_id": "l", "fee": "NaN"}, "fee", "a number with at most 2 decimals"),
        ("lead", {"ext_id": "l", "lead_number": 2**63}, "lead_number", "a whole number of at most 64 bits"),
        ("building", {"ext_id": "b", "total_storage": "1e999999999"}, "total_storage", "a whole number of at most 64"),
        ("lead", {"ext_id": "l", "lead_number": Decimal("1.5")}, "lead_number", "a whole number of at most 64 bits"),
        ("lead", {"ext_id": "l", "lead_number": False}, "lead_number", "a whole number of at most 64 bits"),
        ("premise", {"ext_id": "p", "size": "Infinity"}, "size", "a finite number"),
        ("premise", {"ext_id": "p", "size": Decimal("1e999")}, "size", "a finite number"),
        ("premise", {"ext_id": "p", "is_sold": "yes"}, "is_sold", "true or false"),
        ("premise", {"ext_id": "p", "is_sold": 1}, "is_sold", "true or false"),
        ("premise", {"ext_id": "p", "photos": "one.jpg"}, "photos", "a list"),
        ("premise", {"ext_id": "p", "photos": ["a", None]}, "photos.1", "a text"),
        ("premise", {"ext_id": "p", "similiarApartmentCount": {}}, "similiarApartmentCount", "a whole number"),
        ("project", {"ext_id": "p", "name": "x" * 65_537}, "name", "a text of at most 65536"),
        ("project", {"ext_id": "p", "end_date": "soon"}, "end_date", "a time: ISO 8601"),
        ("project", {"ext_id": "p", "end_date": 1_700_000_000}, "end_date", "a time: ISO 8601"),
    ],
)
def test_bad_input_is_refused_by_field(word: str, data: object, field: str, expected: str) -> None:
    error = refusal(word, data)
    assert error.field == field
    assert error.expected.startswith(expected)
    assert len(error.came) <= 80


def test_up_to_five_errors_are_told_at_once() -> None:
    error = refusal("premise", dict.fromkeys(["floor", "rooms", "year", "size", "price", "is_sold"], "x"))
    assert error.field == "ext_id"
    assert error.message.count("expected") == 5
    assert error.message.endswith("and 2 more")
    assert error.came == "nothing"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.sampled_from(ESTATE), st.data())
def test_any_values_are_a_row_or_an_error_of_ours(of: Contract, data: st.DataObject) -> None:
    names = st.sampled_from(list(of.wire_names.values()))
    with contextlib.suppress(InvalidInput):
        from_outside(str(of.outside), data.draw(st.dictionaries(names, ANYTHING)))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"\xff{}", "UTF-8"),
        (b'"\xed\xa0\x80"', "UTF-8"),
        (b'{"a": NaN}', "JSON, which has no such number"),
        (b"-Infinity", "JSON, which has no such number"),
        (b"[" * 33 + b"]" * 33, "at most 32 levels"),
        (b"[" * 500_000, "at most 32 levels"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "at most 32 levels"),
        (b"9" * 5_000, "numbers of a sensible size"),
        (b"1e99999999999999999999999", "numbers of a sensible size"),
    ],
)
def test_what_is_not_sound_json_is_refused(raw: bytes, expected: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_json(raw)
    assert caught.value.expected.startswith(expected)


def test_fifty_megabytes_are_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "loads", None)
    raw = b'"' + b"x" * 50_000_000 + b'"'
    with pytest.raises(InvalidInput, match="at most 1048576 bytes, came '50000002 bytes'"):
        parse_json(raw)


def test_numbers_stay_exact() -> None:
    assert parse_json(b"[0.1, 1e2, 123456789012345678901234567890]") == [
        Decimal("0.1"),
        Decimal("1e2"),
        123456789012345678901234567890,
    ]
    row = from_outside("premise", parse_json('{"ext_id":"p","price":92233720368547758.07,"size":32.5}'))
    assert row == Premise("p", price=Decimal("92233720368547758.07"), size=32.5)
    assert type(row[Premise._fields.index("size")]) is float


@given(st.binary() | st.text())
def test_any_bytes_are_json_or_an_error_of_ours(raw: bytes | str) -> None:
    with contextlib.suppress(InvalidInput):
        parse_json(raw)


def test_what_cannot_be_said_outside() -> None:
    with pytest.raises(InvalidInput, match="a record with an external name"):
        to_outside(CardCommand("l"))
    with pytest.raises(InvalidInput, match="end_date: expected a time of the years 1 to 9999"):
        to_outside(Project("p", end_date=2**62))
    with pytest.raises(InvalidInput, match="size: expected a finite number, came inf"):
        to_outside(Premise("p", size=float("inf")))
    assert to_outside(Lead("l", state="UNKNOWN"))[1] == {"ext_id": "l"}  # type: ignore[arg-type]
    assert to_outside(Lead("l", state=LeadState.FAILED))[1] == {"ext_id": "l", "state": "Проиграна"}
