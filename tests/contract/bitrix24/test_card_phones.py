"""Phones and texts of cards against the twin: ours are replaced, a person's stay, no markup comes in."""

from __future__ import annotations

import re

import pytest

from adapters.bitrix24.cards import Bitrix24Cards
from adapters.bitrix24.markup import plain
from adapters.bitrix24.rest.answers import Bitrix24Refused
from adapters.bitrix24.twin.faults import Fault
from adapters.bitrix24.twin.server import Bitrix24Twin
from schemas.bitrix24 import CardAction, OwnId
from schemas.errors import OutcomeUnknown
from tests.support.systems.bitrix24 import client_of
from tests.support.systems.bitrix24_cards import FULL, OURS, command, leads, phones


async def test_a_phone_is_replaced_and_those_of_others_stay(twin: Bitrix24Twin, cards: Bitrix24Cards) -> None:
    kinds = [{"VALUE": "+71", "VALUE_TYPE": "FAX"}, {"VALUE": "+72", "VALUE_TYPE": "WORK"}]
    twin.portal.leads.add({"PHONE": kinds} | OURS)
    for phone, expected in {
        "+73": ["+71", "+73"],
        "+7 (1)": ["+71", "+73"],  # it has it already
    }.items():
        await cards.deliver(command(CardAction.UPDATE_CARD, bitrix_lead_id=1, phone=phone), 1, False)
        assert phones(twin, 1) == expected


async def test_what_is_cleared_is_cleared_there(twin: Bitrix24Twin, cards: Bitrix24Cards) -> None:
    await cards.deliver(command(CardAction.CREATE_CARD, **FULL), 1, False)
    clear = command(CardAction.UPDATE_CARD, bitrix_lead_id=1, unset=("name", "comment", "opportunity", "phone"))
    for attempt in (1, 2):
        await cards.deliver(clear._replace(old_phone=FULL["phone"]), attempt, attempt > 1)
        (lead,) = leads(twin)
        assert (lead["NAME"], lead["COMMENTS"], lead["OPPORTUNITY"], lead["PHONE"]) == ("", "", "0.00", [])
        assert (lead["TITLE"], lead["STATUS_ID"]) == ("Lead 7", "NEW")


async def test_a_phone_that_is_cleared_takes_none_of_a_persons(
    twin: Bitrix24Twin, cards: Bitrix24Cards, api: str
) -> None:
    await cards.deliver(command(CardAction.CREATE_CARD, **FULL), 1, False)
    twin.portal.leads.update(1, {"PHONE": [{"VALUE": "+79990003344", "VALUE_TYPE": "WORK"}]}, "person")
    clear = command(CardAction.UPDATE_CARD, bitrix_lead_id=1, unset=("phone",), old_phone="8 999 0001122")
    twin.faults.plan(Fault("hang_after", count=1, methods=(f"crm.{api}.update",), seconds=3))
    with pytest.raises(OutcomeUnknown):
        await cards.deliver(clear, 1, False)
    await cards.deliver(clear, 2, True)
    assert phones(twin, 1) == ["+79990003344"]
    nameless = clear._replace(old_phone=None)
    twin.portal.leads.update(1, {"PHONE": [{"VALUE": "+79990005566", "VALUE_TYPE": "WORK"}]}, "person")
    with pytest.raises(Bitrix24Refused, match="2 phones") as refused:
        await cards.deliver(nameless, 1, False)
    assert "old_phone" in refused.value.hint
    assert len(phones(twin, 1)) == 2


async def test_a_changed_phone_takes_the_place_of_ours(twin: Bitrix24Twin, cards: Bitrix24Cards) -> None:
    twin.portal.leads.add({"PHONE": [{"VALUE": "+79990003344"}, {"VALUE": FULL["phone"]}]})
    change = command(CardAction.UPDATE_CARD, bitrix_lead_id=OwnId(1), phone="+79990005566", old_phone=FULL["phone"])
    await cards.deliver(change, 1, False)
    assert phones(twin, 1) == ["+79990003344", "+79990005566"]


@pytest.mark.parametrize(
    ("theirs", "ours", "old", "left"),
    [
        ("+79990001122;12", "+79990001122", None, "+79990001122;12"),
        ("8 (999) 000-11-22 доб. 5", "+79990001122", None, "8 (999) 000-11-22 доб. 5"),
        ("+79990001122", "+79990001122;12", None, "+79990001122;12"),
        ("+79990001122;15", "+79990001122;12", "+79990003344", "+79990001122;15"),
        ("+79990001122;15", "+79990001122;12", "+79990001122;15", "+79990001122;12"),
        ("89990001122;12", "+79990001122;12", None, "89990001122;12"),
    ],
)
async def test_an_extension_survives(
    twin: Bitrix24Twin, cards: Bitrix24Cards, theirs: str, ours: str, old: str | None, left: str
) -> None:
    twin.portal.leads.add({"PHONE": [{"VALUE": theirs}]})
    await cards.deliver(command(CardAction.UPDATE_CARD, bitrix_lead_id=OwnId(1), phone=ours, old_phone=old), 1, False)
    assert phones(twin, 1) == [left]


async def test_no_outsider_writes_markup_or_more_than_a_column_holds(twin: Bitrix24Twin, cards: Bitrix24Cards) -> None:
    evil = "[URL=https://evil.ru]счёт[/URL] <a href='https://evil.ru'>x</a> [USER=1]Иван[/USER] \u202e"
    fields = FULL | {"title": evil + "т" * 300, "name": evil + "😀" * 50, "comment": evil, "phone": evil + "1" * 300}
    await cards.deliver(command(CardAction.CREATE_CARD, **fields), 1, False)
    await cards.deliver(command(CardAction.UPDATE_CARD, bitrix_lead_id=1, **fields), 1, False)
    (lead,) = leads(twin)
    texts = [lead["TITLE"], lead["NAME"], lead["COMMENTS"], *lead["PHONE"]]
    for text in texts:
        assert not re.search(r"\[/?(URL|USER)|<a|://|\u202e", text), text
    assert (len(lead["TITLE"]), len(lead["NAME"])) == (255, 50)
    assert "[URL=" in plain(lead["COMMENTS"]), "people see what was said"


async def test_who_is_called_with_an_extension_is_found(twin: Bitrix24Twin) -> None:
    async with client_of(twin) as portal:
        for value in ("+79990001122;12", "8 (999) 000-11-22", "+7 999 000-11-22#7"):
            await portal.call("crm.lead.add", {"fields": {"PHONE": [{"VALUE": value}]}})
        found = await portal.call("crm.duplicate.findbycomm", {"type": "PHONE", "values": ["79990001122"]})
    assert found.result == {"LEAD": [1, 2, 3]}
