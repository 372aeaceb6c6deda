"""What the main backend gets of the estate's changes."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from schemas.backend import CHANGES, BackendChange
from schemas.bitrix24 import CardAction, CardCommand, CardOutcome, CardReceipt
from schemas.bookings import BookingStatus, ReportBooking, ReportTimeSlot, ReportVisit
from schemas.estate import Building, City, Lead, LeadOp, LeadState, LeadStatus, Premise, PurchaseOption
from schemas.people import FixingType, ReportClient, ReportFixing, ReportUser
from schemas.record import contract, contracts
from streams.aggregate import Cause
from streams.domains.backend import PARENTS, REFERENCES
from streams.domains.estate import ESTATE, estate
from streams.rules import BackendRules

DOMAIN = estate(BackendRules(enabled=True))


def sent(topic: str, *events: Any) -> list[Any]:
    """Returns the records that these events of one key send."""
    aggregate, state, rows = DOMAIN.by_topic[topic], None, []
    assert aggregate.react is not None
    for n, event in enumerate(events):
        before, state = state, aggregate.evolve(state, event, n)
        if state is not before:
            rows += [out.row for out in aggregate.react(before, state, event, Cause(topic, 0, n, n))]
    return rows


def frames(topic: str, *events: Any) -> list[dict[str, Any]]:
    return [json.loads(row.frame) for row in sent(topic, *events) if isinstance(row, BackendChange)]


def test_a_frame_is_whole_whatever_changed() -> None:
    """The backend's upsert empties what a frame leaves out; what has no value is null."""
    told = frames("estate.city", City("c", 7, name="Тюмень", lat="57.1"), City("c", 8, long="65.5"))
    assert told == [
        {"ext_id": "c", "name": "Тюмень", "long": None, "lat": "57.1"},
        {"ext_id": "c", "name": "Тюмень", "long": "65.5", "lat": "57.1"},
    ]


def test_a_cleared_field_is_null() -> None:
    told = frames("estate.city", City("c", 7, name="a", lat="1"), City("c", 8, unset=("lat",)))
    assert told[1] == {"ext_id": "c", "name": "a", "long": None, "lat": None}


def test_money_words_and_names_are_those_of_the_wire() -> None:
    (told,) = sent(
        "estate.premise",
        Premise("p", 1, price=Decimal("9007199254740993.10"), mortgage_payment=Decimal("5.00"),
                purchase_option=PurchaseOption.MORTGAGE, building_ext_id="b", section_ext_id="s", photos=("x",)),
    )  # fmt: skip
    assert '"price":9007199254740993.10' in told.frame
    assert '"mortagePayment":5,' in told.frame
    assert json.loads(told.frame)["purchaseOption"] == "mortage"
    assert told.parents == ("building/b", "section/s")
    assert (told.subject, told.type, told.references) == ("premise/p", "premise", ())


def test_a_lead_and_its_status_are_two_subjects() -> None:
    events = Lead("l", 1, agent_ext_id="u", state=LeadState.ACTIVE), LeadOp("l", 2, status=LeadStatus.WON)
    lead, status = (row for row in sent("estate.lead", *events) if isinstance(row, BackendChange))
    said = {name: value for name, value in json.loads(lead.frame).items() if value is not None}
    assert said == {"ext_id": "l", "agent_ext_id": "u", "state": "Активные"}
    assert (lead.parents, lead.references) == ((), ("user/u",))
    said = {name: value for name, value in json.loads(status.frame).items() if value is not None}
    assert said == {"lead_ext_id": "l", "status": "выиграна"}
    assert (status.subject, status.parents) == ("lead_op/l", ("lead/l",))


def test_a_status_before_its_lead_goes_out_and_is_held_by_the_log() -> None:
    (status,) = sent("estate.lead", LeadOp("l", 2, status=LeadStatus.WON))
    assert (status.subject, status.parents) == ("lead_op/l", ("lead/l",))


def test_what_the_backend_has_no_type_for_is_not_sent() -> None:
    receipt = CardReceipt("l", "k", CardAction.CREATE_CARD, CardOutcome.SUCCESS, 456, None, 1)
    rows = sent("estate.lead", Lead("l", 1), receipt)
    assert [type(row) for row in rows] == [CardCommand, BackendChange]


def test_a_duplicate_sends_nothing() -> None:
    assert len(frames("estate.building", Building("b", 5, name="1"), Building("b", 5, name="1"))) == 1


DECIDED = {
    "time_slots": (ReportTimeSlot("x", source_update_id=3, is_booked=True), {"is_booked": True}),
    "VISIT": (ReportVisit("x", source_update_id=3, client_ext_id="c"), {"client_ext_id": "c"}),
    "booking": (ReportBooking("x", source_update_id=3, status=BookingStatus.SUCCESS), {"status": "success"}),
    "client": (ReportClient("x", source_update_id=3, agent_ext_id="u"), {"agent_ext_id": "u"}),
    "user": (ReportUser("x", source_update_id=3, city_ext_id="c"), {"city_id": "c"}),
}


@pytest.mark.parametrize("word", DECIDED)
def test_what_is_decided_goes_out_under_its_wire_type(word: str) -> None:
    command, wanted = DECIDED[word]
    (told,) = decided(command)
    frame = json.loads(told.frame)
    assert (told.subject, told.type) == (f"{word}/x", word)
    assert {name: frame[name] for name in wanted} == wanted
    assert not {"source", "source_updates", "update_id", "password"} & frame.keys()


def test_a_fixing_waits_for_its_client() -> None:
    (told,) = decided(ReportFixing("x", source_update_id=3, fixing_type=FixingType.STRONG_FIXING))
    assert (told.subject, told.parents) == ("client_fixing/x", ("client/x",))
    assert json.loads(told.frame)["fixing_type"] == "сильное закрепление"


def test_what_the_backend_has_said_itself_does_not_come_back() -> None:
    said = ReportClient("x", source="backend", source_update_id=1, fullname="Анна", agent_ext_id="u")
    answered = ReportFixing("x", source_update_id=3, fixing_type=FixingType.WEAK_FIXING)
    again = ReportClient("x", source_update_id=4, comment="new")
    assert [told.type for told in decided(said, answered, again)] == ["client_fixing", "client"]


def test_references_of_all_types_are_fields_of_their_states() -> None:
    for word, types in [*PARENTS.items(), *REFERENCES.items()]:
        topic = next(t for c in contracts() if c.outside == word for t in c.topics).removesuffix(".commands")
        assert types.keys() <= set(DOMAIN.by_topic[topic].layout.fields), word


def decided(*commands: Any) -> list[BackendChange]:
    """Returns what these commands of one key send to the backend."""
    topic = contract(type(commands[0])).topics[0]
    aggregate, state, rows = DOMAIN.by_topic[topic], None, []
    assert aggregate.decide is not None
    assert aggregate.react is not None
    for n, command in enumerate(commands):
        verdict: Any = aggregate.decide(state, command, Cause(topic, 0, n, n, 0))
        for i, event in enumerate(verdict.events, 1):
            event = event._replace(update_id=n * 10 + i)
            before, state = state, aggregate.evolve(state, event, n)
            rows += [out.row for out in aggregate.react(before, state, event, Cause(topic, 0, n, n, i))]
    return rows


def test_without_a_backend_no_lane_has_it_in_its_path() -> None:
    assert [a.react for a in ESTATE.aggregates if a.react is not None] == [ESTATE.by_topic["estate.lead"].react]
    assert CHANGES not in ESTATE.writes
    assert CHANGES in DOMAIN.writes
    assert [a.topic for a in DOMAIN.aggregates] == [a.topic for a in ESTATE.aggregates]
