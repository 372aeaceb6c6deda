"""What is drift, what a person has done, and what mends it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from adapters.bitrix24.audit import Difference, Drift
from adapters.bitrix24.cards import scalars
from adapters.bitrix24.leads import PortalLead
from adapters.bitrix24.origins import owner
from adapters.bitrix24.twin.texts import column
from adapters.bitrix24.watch import card_changed
from kounter.audit import Audited, cards_of, differences, heal
from kounter.commands.repair.audit import _show
from schemas.bitrix24 import CardAction
from streams.aggregate import Cause
from streams.domains import core_users
from streams.domains.domofon import SIGN_UPS
from streams.rules import DomofonRules
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
    ours = {core_users.USERS: {"123": layout(core_users.USERS).blank("123")._replace(version=1, **known)}}
    assert drift(ours, portal(5, "crm.core-user:123", "JUNK")) == [], "a person has moved it"
    assert owner("crm.core-user:123") == (core_users.USERS, "123")


def test_what_the_portal_says_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Its titles are anybody's: one in square brackets once ended the command with an error of its screen."""
    title = "[/b] [red]Лид\x1b[2J :boom:"
    _show([Audited(LEADS, Difference("4711", Drift.TITLE, "Lead 7", title))], json=False, personal=True)
    out = capsys.readouterr().out
    assert "[/b] [red]Лид\N{REPLACEMENT CHARACTER}[2J :boom:" in out


def full(id: int, origin: str, **fields: Any) -> PortalLead:
    """A row that says all that is asked for."""
    row = {"ID": id, "TITLE": "Lead 7", "STATUS_ID": "NEW", "ORIGIN_ID": origin, "ORIGINATOR_ID": "kounter", "NAME": ""}
    more = {"COMMENTS": "status: OPEN", "OPPORTUNITY": "0.00", "DATE_MODIFY": datetime(2026, 1, 1, tzinfo=UTC)}
    return PortalLead.model_validate({**row, **more, **fields})


def test_what_was_cleared_is_compared_and_healed() -> None:
    ours = {LEADS: {"l": lead("l", bitrix_lead_id=4)}}
    theirs = full(4, "estate.lead:l", OPPORTUNITY="1000.00")
    assert drift(ours, full(4, "estate.lead:l")) == []
    assert drift(ours, theirs) == [(LEADS, "l", Drift.OPPORTUNITY)]
    (command,) = heal(ours, differences(ours, [theirs], CARDS, simple=False), CARDS)
    assert (command.action, command.unset, command.opportunity) == (CardAction.UPDATE_CARD, ("opportunity",), None)
    assert (command.title, command.stage, command.comment) == (None, None, None)


def test_each_field_that_a_card_shows_is_compared_and_healed() -> None:
    ours = {LEADS: {"l": lead("l", bitrix_lead_id=4, fee=Decimal("1000.00"))}, USERS: {"1": user("1")}}
    theirs = [
        full(4, "estate.lead:l", OPPORTUNITY="999.00", COMMENTS="status: WON", NAME="Кто-то"),
        full(
            5,
            "crm.user:1",
            NAME="Пётр",
            COMMENTS="заметка",
            OPPORTUNITY="5.00",
            PHONE=[{"ID": 1, "VALUE": "+77001112233"}],
        ),
    ]
    assert drift(ours, *theirs) == [
        (LEADS, "l", Drift.COMMENT), (LEADS, "l", Drift.OPPORTUNITY), (USERS, "1", Drift.NAME)
    ], "what a card does not show is people's own"  # fmt: skip
    estate, crm = heal(ours, differences(ours, theirs, CARDS, simple=False), CARDS)
    assert (estate.comment, estate.opportunity, estate.unset) == ("status: OPEN", Decimal("1000.00"), ())
    assert (crm.name, crm.phone, crm.stage, crm.unset) == ("Иван", None, None, ())


def test_a_sign_ups_phone_that_is_none_any_more() -> None:
    state = layout(SIGN_UPS).blank("7")._replace(version=1, status="UNPROCESSED", bitrix_lead_id=5, city="Киров")
    ours = {SIGN_UPS: {"7": state}}
    row = {"TITLE": "Заявка на подключение 7", "COMMENTS": "адрес: Киров"}
    theirs = full(
        5, "domofon.sign-up:7", **row, PHONE=[{"ID": 1, "VALUE": "+79990000001;12"}, {"ID": 2, "VALUE": "+71"}]
    )
    assert drift(ours, full(5, "domofon.sign-up:7", **row)) == []
    (command,) = heal(ours, differences(ours, [theirs], CARDS, simple=False), CARDS)
    assert (command.unset, command.phone, command.old_phone) == (("phone",), None, "+79990000001;12")


def test_what_a_person_wrote_and_the_watch_has_told_is_no_drift() -> None:
    theirs = full(
        4, "estate.lead:l", COMMENTS="звонил &quot;сам&quot;, [B]ждёт[/B]", OPPORTUNITY="5.00", TITLE="[B]Важный[/B]"
    )
    known = lead("l", bitrix_lead_id=4)
    assert len(drift({LEADS: {"l": known}}, theirs)) == 3
    said = card_changed("l", theirs)
    told = known._replace(**{name: value for name, value in said._asdict().items() if name.startswith("portal_")})
    assert drift({LEADS: {"l": told}}, theirs) == []
    assert (said.portal_comments, said.portal_title) == ('звонил "сам", ждёт', "Важный")
    emptied = full(4, "estate.lead:l", COMMENTS="", TITLE="")
    said = card_changed("l", emptied)
    assert set(said.unset) == {"portal_name", "portal_phone", "portal_comments"}
    told = known._replace(portal_modified_at=1, portal_comments=None, portal_title="")
    assert drift({LEADS: {"l": told}}, emptied) == []


@pytest.mark.parametrize(
    "number", ["7 [B]", "<b>7</b>", "&quot;7&quot;", "7 😀", "https://a.ru/7", "x" * 300, "7\u202e"]
)
def test_markup_that_comes_from_outside_is_no_difference_for_ever(number: str) -> None:
    ours = {LEADS: {"l": lead("l", bitrix_lead_id=4, premise_ext_id=number)._replace(lead_number=number)}}
    sent = scalars(CARDS[LEADS](ours[LEADS]["l"], CardAction.CREATE_CARD, Cause(LEADS, 0, 0, 0)))
    kept = {name: column(name, value) for name, value in sent.items()}
    assert drift(ours, full(4, "estate.lead:l", **kept)) == []


@pytest.mark.parametrize("phone", ["+77001112233;12", "8 700 111-22-33", "+7 700 111 22 33 доб. 7", "87001112233,,7"])
def test_an_extension_is_no_difference(phone: str) -> None:
    assert drift({USERS: {"1": user("1")}}, full(5, "crm.user:1", NAME="Иван", PHONE=[{"ID": 1, "VALUE": phone}])) == []


def test_of_a_lead_that_has_not_come_no_card_is_made() -> None:
    """Only an operation of it is known, which waits."""
    assert drift({LEADS: {"l": lead("l")._replace(version=0)}}) == []


def test_what_a_person_mended_is_no_drift_and_is_not_asked_for_again() -> None:
    """The portal has refused it."""
    done = {"bitrix_outcome": "SUCCESS", "bitrix_edits": '{"stage":["NEW","OURS"],"opportunity":["5.00","4.00"]}'}
    ours = {LEADS: {"l": lead("l", bitrix_lead_id=4, fee=Decimal("5.00"), **done)}}
    theirs = full(4, "estate.lead:l", STATUS_ID="OURS", TITLE="Lead 7", COMMENTS="status: OPEN", OPPORTUNITY="4.00")
    assert drift(ours, theirs) == []
    (again,) = heal(ours, [Audited(LEADS, Difference("l", Drift.MISSING, "", ""))], CARDS)
    assert (again.action, again.stage, again.opportunity) == (CardAction.CREATE_CARD, "OURS", Decimal("4.00"))
    moved = {LEADS: {"l": ours[LEADS]["l"]._replace(status="WON")}}
    assert (LEADS, "l", Drift.STAGE) in drift(moved, theirs), "what is asked since is another stage"
