"""Frames: what a good one gives, what each bad one is answered with."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.brusnika.frames import BadFrame, ErrorFrame, answer_to, read_frame
from adapters.brusnika.twin.changes import BROKEN
from adapters.brusnika.twin.frames import data_frame, denied_frame
from schemas.codec.encoding import row_encoder
from schemas.error_frame import Trouble, error_frame
from schemas.estate import Lead, LeadOp, Premise
from schemas.record import contract

LIMIT = 1024 * 1024


def said(word: object, body: object) -> bytes:
    return json.dumps({"data": {"type": word, "data": body}, "error": None}).encode()


def refusal(raw: bytes, limit: int = LIMIT) -> BadFrame:
    with pytest.raises(BadFrame) as caught:
        read_frame(raw, max_bytes=limit)
    return caught.value


def test_a_frame_of_the_seed_becomes_a_row() -> None:
    raw = said("lead", {"ext_id": "l-1", "update_id": 7, "state": "На паузе", "fee": "1000.50", "lead_number": 12})
    row = read_frame(raw, max_bytes=LIMIT)
    assert isinstance(row, Lead)
    assert row == Lead("l-1", 7, fee=Decimal("1000.50"), lead_number=12, state=row.state, lead_number_text="12")
    assert row.state == "IN_PROGRESS"


def test_a_frame_without_update_id_is_taken() -> None:
    """The published samples show none."""
    assert read_frame(said("section", {"ext_id": "s"}), max_bytes=LIMIT)[1] is None


def test_the_wrapping_of_nest_is_read_too() -> None:
    inner = json.loads(said("lead_op", {"lead_ext_id": "l", "ext_id": "o", "status": "бронь"}))
    row = read_frame(json.dumps({"event": "events", "data": inner}).encode(), max_bytes=LIMIT)
    assert isinstance(row, LeadOp)
    assert (row.lead_ext_id, row.op_ext_id, row.status) == ("l", "o", "BOOKED")
    assert refusal(json.dumps({"event": "gossip", "data": inner}).encode()).field == "event"


def test_a_row_goes_to_a_frame_and_back() -> None:
    row = Premise("Кв. №1", 3, price=Decimal("145120.16"), size=32.5, photos=("a", "b"), is_sold=True, unset=("link",))
    assert read_frame(data_frame(row), max_bytes=LIMIT) == row


def test_an_error_of_the_server_is_told_from_data() -> None:
    error = read_frame(error_frame(Trouble.DENIED, "Invalid custom header"), max_bytes=LIMIT)
    assert isinstance(error, ErrorFrame)
    assert (error.id, error.meta) == (400, {"message": "Invalid custom header"})


@pytest.mark.parametrize("error", [b'"busy"', b"1", b'{"id":"x","labels":[1],"meta":2}', b"{}"])
def test_an_error_of_any_shape_is_an_error(error: bytes) -> None:
    assert isinstance(read_frame(b'{"data":null,"error":' + error + b"}", max_bytes=LIMIT), ErrorFrame)


def test_the_denial_is_the_seeds_frame_to_the_letter() -> None:
    labels = dict.fromkeys(("en", "ru", "uz"), "Client connection denied!")
    assert denied_frame("Invalid custom header") == error_frame(Trouble.DENIED, "Invalid custom header")
    assert json.loads(error_frame(Trouble.DENIED, "Invalid custom header")) == {
        "data": None,
        "error": {"id": 400, "labels": labels, "meta": {"message": "Invalid custom header"}},
    }


@pytest.mark.parametrize(
    ("name", "trouble", "field"),
    [
        ("not_json", Trouble.NOT_JSON, None),
        ("not_utf8", Trouble.NOT_JSON, None),
        ("nan", Trouble.NOT_JSON, None),
        ("too_deep", Trouble.NOT_JSON, None),
        ("not_an_object", Trouble.BAD_FRAME, "frame"),
        ("no_data", Trouble.BAD_FRAME, "data"),
        ("unknown_type", Trouble.UNKNOWN_TYPE, "type"),
        ("unknown_word", Trouble.WRONG_VALUE, "type"),
        ("no_ext_id", Trouble.MISSING_FIELD, "ext_id"),
        ("wrong_type", Trouble.WRONG_VALUE, "floor"),
        ("price_above_64_bits", Trouble.WRONG_VALUE, "price"),
    ],
)
def test_each_broken_frame_is_answered_by_what_to_mend(name: str, trouble: Trouble, field: str | None) -> None:
    bad = refusal(BROKEN[name](41))
    assert bad.trouble is trouble
    error: dict[str, Any] = json.loads(answer_to(bad))["error"]
    meta = error["meta"]
    assert error["id"] == trouble.id
    assert set(error["labels"]) == {"en", "ru", "uz"}
    assert meta["expected"]
    assert meta["message"]
    assert "came" in meta
    assert len(meta["came"]) <= 80
    assert field is None or meta["field"] == field
    if trouble in (Trouble.UNKNOWN_TYPE, Trouble.WRONG_VALUE, Trouble.MISSING_FIELD):
        assert meta["update_id"] == 41


def test_every_way_of_being_broken_is_tested_above() -> None:
    marks = test_each_broken_frame_is_answered_by_what_to_mend.pytestmark  # type: ignore[attr-defined]
    assert {case[0] for case in marks[0].args[1]} == set(BROKEN)


@pytest.mark.parametrize(
    "raw", [b"", b"null", b"0", b'"x"', b"[]", b"{}", said(3, {}), said("lead", []), said("lead", None)]
)
def test_a_frame_of_another_shape_is_refused(raw: bytes) -> None:
    assert refusal(raw).trouble in (Trouble.BAD_FRAME, Trouble.NOT_JSON)


def test_a_frame_over_the_limit_is_not_even_parsed() -> None:
    bad = refusal(b"x" * 101, limit=100)
    assert (bad.trouble, bad.expected, bad.came) == (Trouble.TOO_LARGE, "at most 100 bytes", "101")


def test_each_kind_of_trouble_has_an_id_and_labels_of_its_own() -> None:
    assert len({t.id for t in Trouble}) == len(Trouble)
    for trouble in set(Trouble) - {Trouble.DENIED}:
        assert len(set(trouble.labels)) == 3


@pytest.mark.parametrize(
    "raw",
    [
        b'{"data":{"type":"user","data":{"ext_id":"u","password":"hunter2"',
        said("user", [{"password": "hunter2"}]),
        said("user", {"ext_id": {"password": "hunter2"}}),
        said({"password": "hunter2"}, {}),
        said('{"password":"hunter2"}', {}),
        json.dumps([{"password": "hunter2"}]).encode(),
        json.dumps({"event": {"password": "hunter2"}, "data": None}).encode(),
    ],
)
def test_the_answer_to_a_bad_frame_has_no_password(raw: bytes) -> None:
    bad = refusal(raw)
    assert b"hunter2" not in answer_to(bad)
    assert "hunter2" not in str(bad)


@pytest.mark.parametrize("word", ["visit", "VISIT"])
def test_a_bad_frame_of_a_known_type_names_its_field(word: str) -> None:
    bad = refusal(said(word, {"visit_ext_id": "v", "status": "lost", "update_id": 3}))
    assert (bad.trouble, bad.field, bad.update_id) == (Trouble.WRONG_VALUE, "status", 3)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
BODIES = st.dictionaries(
    st.sampled_from([n for cls in (Premise, Lead, LeadOp) for n in contract(cls).wire_names.values()]),
    ANY_JSON | st.sampled_from(["\ud800", "1e999999999", "9" * 30, "a\nb", "бронь", "2026-13-01", -0.0, 1e308]),
    max_size=6,
)


@given(st.sampled_from(["premise", "lead", "LEAD_OP", "city", "x", "\ud800", ""]) | ANY_JSON, BODIES | ANY_JSON)
def test_whatever_comes_is_a_row_that_can_be_written_or_a_refusal(word: object, body: object) -> None:
    try:
        row = read_frame(said(word, body), max_bytes=LIMIT)
    except BadFrame as bad:
        answer_to(bad)
        return
    assert not isinstance(row, ErrorFrame)
    assert json.loads(data_frame(row))["error"] is None
    row_encoder(contract(type(row)))(row)


@given(st.binary(max_size=60))
def test_noise_is_refused(raw: bytes) -> None:
    assert json.loads(answer_to(refusal(raw)))["data"] is None


def test_half_a_surrogate_is_refused() -> None:
    """JSON can escape it, UTF-8 can't hold it: no topic could take it."""
    assert refusal(b'{"data":{"type":"city","data":{"ext_id":"c","name":"\\ud800"}},"error":null}').field == "name"
    assert refusal(b'{"data":{"type":"\\ud800","data":{}},"error":null}').trouble is Trouble.UNKNOWN_TYPE
