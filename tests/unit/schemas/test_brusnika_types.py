"""The types of the developer's system: synonyms, numbers that may be texts, dates, and whole frames of states."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.bookings import DECIDED, ReportBooking, ReportVisit
from schemas.errors import InvalidInput
from schemas.estate import Lead, Premise, Task
from schemas.external import from_outside, to_outside, whole_frame
from schemas.people import Agency, ReportClient, ReportFixing, ReportUser
from schemas.record import SEQUENCE, UNSET, contract, contracts
from streams.domains.estate import ESTATE
from tables.layout import State, layout
from tests.unit.schemas.test_external import ESTATE as TYPES
from tests.unit.schemas.test_external import sayable


def read(word: str, **data: Any) -> Any:
    return from_outside(word, {"ext_id": "x"} | data)


@pytest.mark.parametrize("word", ["VISIT", "visit", "Visit"])
@pytest.mark.parametrize("name", ["visit_ext_id", "ext_id"])
def test_a_visit_is_read_in_any_case_and_written_as_the_backend_knows_it(word: str, name: str) -> None:
    row = from_outside(word, {name: "v", "status": "Assigned", "update_id": 5})
    assert row == ReportVisit("v", "brusnika", 5, status="ASSIGNED")  # type: ignore[arg-type]
    assert to_outside(row) == ("VISIT", {"ext_id": "v", "update_id": 5, "status": "assigned"})


def test_other_names_and_labels_are_read_and_the_seeds_are_written() -> None:
    assert from_outside("booking", {"ext_id": 7, "status": "SUCCESS"}) == ReportBooking("7", status="SUCCESS")  # type: ignore[arg-type]
    assert to_outside(ReportBooking("7"))[1] == {"booking_ext_id": "7"}
    assert to_outside(read("lead", state="Открыта"))[1]["state"] == "Активные"
    assert read("lead_op", lead_ext_id="l", status="Бронь").status == "BOOKED"
    assert read("user", city_ext_id=3, agency_ext_id="a") == ReportUser("x", city_ext_id="3", agency_ext_id="a")
    assert to_outside(read("user", city_ext_id=3))[1] == {"ext_id": "x", "city_id": "3"}
    assert read("user", city_id=None, city_ext_id="c").city_ext_id == "c"
    assert read("user", city_ext_id=None).unset == ("city_ext_id",)
    assert to_outside(read("client", node="n", actived_date="2026-01-31"))[1] == {
        "ext_id": "x", "node": "n", "actived_date": "2026-01-31T00:00:00Z",
    }  # fmt: skip
    assert read("client_fixing", client_ext_id="c", fixing_type="отказ в закреплении") == ReportFixing(
        "c",
        fixing_ext_id="x",
        fixing_type="CANCEL_FIXING",  # type: ignore[arg-type]
    )


def test_the_refused_field_is_named_as_it_came() -> None:
    with pytest.raises(InvalidInput) as caught:
        read("user", agency_ext_id=True)
    assert (caught.value.field, caught.value.expected) == ("agency_ext_id", "a text or a whole number")
    with pytest.raises(InvalidInput) as caught:
        from_outside("VISIT", {"status": "open"})
    assert caught.value.field == "ext_id"


@pytest.mark.parametrize(
    ("came", "number", "text", "unset"),
    [
        (12, 12, "12", ()),
        ("12", 12, "12", ()),
        ("0012", 12, "0012", ()),
        ("12А", None, "12А", ("number",)),
        (Decimal("12.0"), 12, "12", ()),
        (str(2**63), None, str(2**63), ("number",)),
        ("", None, "", ("number",)),
        (None, None, None, ("number", "number_text")),
    ],
)
def test_a_number_may_be_a_text(came: Any, number: int | None, text: str | None, unset: tuple[str, ...]) -> None:
    row = read("premise", number=came)
    assert (row.number, row.number_text, row.unset) == (number, text, unset)
    assert from_outside(*to_outside(row)) == row
    lead = read("lead", lead_number=came)
    assert (lead.lead_number, lead.lead_number_text) == (number, text)


def test_an_older_record_without_the_text_is_written_by_its_number() -> None:
    assert to_outside(Lead("l", lead_number=12))[1]["lead_number"] == 12
    assert to_outside(Premise("p", number=12, number_text="12"))[1]["number"] == 12


def test_one_word_and_a_list_of_ways_to_pay() -> None:
    both = read(
        "premise", purchaseOption="Mortage", purchase_option=["bill", "full_payment"], feature=["sign_new", "?"]
    )
    assert (both.purchase_option, both.purchase_options) == ("MORTGAGE", ("BILL", "FULL_PAYMENT"))
    assert both.features == ("sign_new", "?")
    assert read("premise", purchase_option="bill").purchase_option == "BILL"
    assert read("premise", purchaseOption=["bill"]).purchase_options == ("BILL",)
    assert read("premise", purchaseOption=None).unset == ("purchase_option",)
    assert read("premise", purchase_option=None).unset == ("purchase_options",)
    for name in ("purchase_option", "purchaseOption"):
        with pytest.raises(InvalidInput) as caught:
            read("premise", **{name: 7})
        assert caught.value.field == name
    with pytest.raises(InvalidInput, match=r"purchase_option\.1: expected one of 'mortage'"):
        read("premise", purchase_option=["bill", "beads"])


@pytest.mark.parametrize(
    ("word", "name", "good", "bad", "expected"),
    [
        ("time_slots", "date", "2026-02-28", ["2026-02-30", "28.02.2026", "2026-02-28T00:00"], "a day: YYYY-MM-DD"),
        ("time_slots", "time", "09:30", ["9:30", "24:00", "09:30:00", "\u0660\u0669:30"], "a time of day: HH:mm"),
        ("VISIT", "request_date", "2026-02-28T09:00:00.000Z", ["soon"], "a date or time: ISO 8601"),
        ("user", "birthDate", "1990-05-01", ["1990", "May"], "a date or time: ISO 8601"),
    ],
)
def test_days_and_times_of_day_are_kept_as_they_came(
    word: str, name: str, good: str, bad: list[str], expected: str
) -> None:
    assert to_outside(read(word, **{name: good}))[1][name] == good
    for came in bad:
        with pytest.raises(InvalidInput) as caught:
            read(word, **{name: came})
        assert (caught.value.field, caught.value.expected.startswith(expected)) == (name, True)


def test_current_status_is_the_leads_status_and_comments_are_personal() -> None:
    row = read("lead", current_status="ПРЕЗЕНТАЦИЯ", comment="звонить после 18")
    assert row.status == "PRESENTATION"
    assert contract(Lead).personal == {"comment"}
    assert {"phone", "email", "owner_full_name"} < contract(Agency).personal
    assert {"fullname", "phone_number", "email", "comment", "note"} == contract(ReportClient).personal
    assert "comment" in contract(Task).personal


def test_a_decided_event_has_what_its_report_has() -> None:
    for topic in DECIDED:
        known = layout(topic)
        for of in contracts(f"{topic}.commands"):
            assert set(of.said) - {"source_update_id", of.key} <= set(known.fields)
            assert of.personal <= known.personal


def state_of(topic: str, row: Any) -> State:
    """A state that has a row's values."""
    values = dict.fromkeys(layout(topic).fields) | {n: v for n, v in row._asdict().items() if n != UNSET}
    of = contract(type(row))
    values |= {"ext_id": getattr(row, of.key), SEQUENCE: 1, "version": 1, "changed_at": 0}
    return layout(topic).new([*(values[n] for n in layout(topic).fields), ()])


@given(st.data())
def test_a_whole_frame_has_every_field_and_is_read_back(data: st.DataObject) -> None:
    of = data.draw(st.sampled_from([c for c in TYPES if c.domain == "estate"]))
    row = data.draw(sayable(of))
    word, frame = whole_frame(str(of.outside), state_of(of.topics[0].removesuffix(".commands"), row))
    assert word == of.outside
    assert set(frame) == {of.wire_names[n] for n in of.said if n != of.counter}
    back = from_outside(word, frame)
    same = [n for n in of.said if n != of.counter]
    assert [getattr(back, n) for n in same] == [getattr(row, n) for n in same]
    assert set(back.unset) == {n for n in same if getattr(row, n) is None}  # type: ignore[attr-defined]


def test_every_aggregate_has_its_type() -> None:
    topics = {c.topics[0].removesuffix(".commands") for c in TYPES}
    assert topics == {a.topic for a in ESTATE.aggregates}
    assert {c.outside for c in TYPES} == {
        "city", "project", "building", "section", "premise", "lead", "lead_op", "time_slots", "user", "agency",
        "client", "client_fixing", "booking", "VISIT", "task",
    }  # fmt: skip


def test_a_type_that_is_unknown_has_no_frame() -> None:
    with pytest.raises(InvalidInput, match="type: expected one of"):
        whole_frame("rumour", state_of("estate.city", from_outside("city", {"ext_id": "c"})))
