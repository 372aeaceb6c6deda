"""What is drift, what a person has done, and what mends it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.bitrix24.audit import Difference, Drift
from adapters.bitrix24.leads import PortalLead
from kounter.audit import Audited, cards_of, differences, heal
from kounter.commands.audit import _show
from schemas.bitrix24 import CardAction
from streams import core
from streams.domofon import DomofonRules
from streams.portal import owner
from tables.layout import State, layout

CARDS = cards_of(DomofonRules())
LEADS, USERS = "estate.lead", "crm.user"


def lead(ext_id: str, **fields: Any) -> State:
    return layout(LEADS).blank(ext_id)._replace(version=1, status="OPEN", lead_number=7, **fields)


def user(ext_id: str, **fields: Any) -> State:
    known = {"full_name": "Иван", "phone": "+77001112233", "stage": "NEW", "bitrix_lead_id": 5}
    return layout(USERS).blank(ext_id)._replace(version=1, **{**known, **fields})


def portal(id: int, origin: str, stage: str = "NEW", title: str = "Lead 7", phone: str = "+77001112233") -> PortalLead:
    phones = [{"ID": "1", "VALUE": phone, "VALUE_TYPE": "WORK"}]
    row = {"ID": id, "TITLE": title, "STATUS_ID": stage, "ORIGIN_ID": origin, "ORIGINATOR_ID": "kounter"}
    return PortalLead.model_validate({**row, "PHONE": phones, "DATE_MODIFY": datetime(2026, 1, 1, tzinfo=UTC)})


def drift(ours: dict[str, dict[str, State]], *portals: PortalLead) -> list[tuple[str, str, Drift]]:
    found = differences(ours, portals, CARDS, simple=False)
    return [(one.aggregate, one.difference.ext_id, one.difference.field) for one in found]


def test_what_agrees_is_no_drift() -> None:
    ours = {LEADS: {"l": lead("l", bitrix_lead_id=4)}, USERS: {"1": user("1")}}
    theirs = portal(4, "estate.lead:l"), portal(5, "crm.user:1"), portal(9, "abonent:15", title="Абонент 15")
    assert drift(ours, *theirs) == []


def test_missing_deleted_moved_and_unknown() -> None:
    ours = {LEADS: {"new": lead("new"), "gone": lead("gone", bitrix_lead_id=4), "l": lead("l", bitrix_lead_id=6)}}
    assert drift(ours, portal(6, "estate.lead:l", "JUNK"), portal(8, "estate.lead:who")) == [
        (LEADS, "new", Drift.MISSING),
        (LEADS, "gone", Drift.DELETED),
        (LEADS, "l", Drift.STAGE),
        ("", "estate.lead:who", Drift.UNKNOWN),
    ]


def test_what_a_person_changed_and_we_were_told_of_is_no_drift() -> None:
    theirs = portal(5, "crm.user:1", "JUNK", phone="+79990000000")
    assert [field for *_, field in drift({USERS: {"1": user("1")}}, theirs)] == [Drift.STAGE, Drift.PHONE]
    told = user("1", portal_stage="JUNK", portal_phone="8 999 000-00-00")
    assert drift({USERS: {"1": told}}, theirs) == []


def test_one_command_mends_a_lead_and_a_deleted_one_is_not_brought_back() -> None:
    ours = {USERS: {"1": user("1"), "2": user("2", bitrix_lead_id=None), "3": user("3")}}
    found = differences(ours, [portal(5, "crm.user:1", "JUNK", phone="+79990000000")], CARDS, simple=False)
    commands = {command.ext_id: command for command in heal(ours, found, CARDS)}
    assert {id: command.action for id, command in commands.items()} == {
        "1": CardAction.UPDATE_CARD, "2": CardAction.CREATE_CARD
    }  # fmt: skip
    assert (commands["1"].stage, commands["1"].phone, commands["1"].bitrix_lead_id) == ("NEW", "+77001112233", 5)
    assert (commands["1"].name, commands["2"].name) == (None, "Иван"), "what does not differ may be a person's"


def test_a_user_of_an_outside_core_service_is_known() -> None:
    known = {"full_name": "Иван", "phone": "+77001112233", "stage": "NEW", "bitrix_lead_id": 5, "portal_stage": "JUNK"}
    ours = {core.USERS: {"123": layout(core.USERS).blank("123")._replace(version=1, **known)}}
    assert drift(ours, portal(5, "crm.core-user:123", "JUNK")) == [], "a person has moved it"
    assert owner("crm.core-user:123") == (core.USERS, "123")


def test_what_the_portal_says_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Its titles are anybody's: one in square brackets once ended the command with an error of its screen."""
    title = "[/b] [red]Лид\x1b[2J :boom:"
    _show([Audited(LEADS, Difference("4711", Drift.TITLE, "Lead 7", title))], json=False, personal=True)
    out = capsys.readouterr().out
    assert "[/b] [red]Лид\N{REPLACEMENT CHARACTER}[2J :boom:" in out
