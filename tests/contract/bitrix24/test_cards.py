"""Cards against the twin: created once, whatever goes wrong between."""

from __future__ import annotations

import pytest

from adapters.bitrix24.cards import Bitrix24Cards
from adapters.bitrix24.rest.answers import Bitrix24Refused
from adapters.bitrix24.twin.faults import Fault
from adapters.bitrix24.twin.server import Bitrix24Twin
from schemas.bitrix24 import CardAction, OwnId
from schemas.errors import DeliveryDenied, DeliveryError, DeliveryUnavailable, OutcomeUnknown
from tests.support.systems.bitrix24_cards import FULL, OURS, command, leads, until_done


async def test_a_card_is_created_with_all_it_says(twin: Bitrix24Twin, cards: Bitrix24Cards) -> None:
    delivered = await cards.deliver(command(CardAction.CREATE_CARD, **FULL), 1, False)
    assert delivered == (1, True)
    (lead,) = leads(twin)
    expected = {
        "TITLE": "Lead 7",
        "NAME": "Анна Петрова",
        "PHONE": ["+7 999 000-11-22"],
        "STATUS_ID": "NEW",
        "COMMENTS": "status: OPEN",
        "OPPORTUNITY": "1500000.50",
        "SOURCE_ID": "OTHER",
        "SOURCE_DESCRIPTION": "brusnika",
        "ORIGINATOR_ID": "kounter",
        "ORIGIN_ID": "estate.lead:L-7",
    }
    assert {name: lead[name] for name in expected} == expected


async def test_a_first_sure_create_asks_nothing_first(twin: Bitrix24Twin, cards: Bitrix24Cards, api: str) -> None:
    await cards.deliver(command(CardAction.CREATE_CARD, **FULL), 1, False)
    assert twin._app.requests == {f"crm.{api}.add": 1}


async def test_a_stage_that_the_portal_has_not_is_refused(twin: Bitrix24Twin, cards: Bitrix24Cards) -> None:
    await cards.deliver(command(CardAction.CREATE_CARD, **FULL), 1, False)
    with pytest.raises(Bitrix24Refused, match=r"stage 'WON' is not one of the portal's: NEW, IN_PROCESS, PROCESSED"):
        await cards.deliver(command(CardAction.MOVE_CARD, stage="WON"), 1, False)
    twin.portal.store.run(
        "INSERT INTO statuses (entity_id, status_id, name, sort, system) VALUES ('STATUS', 'WON', 'W', 25, 'N')"
    )
    cards._stages._read_at = -1e9  # its owner has made it since
    await cards.deliver(command(CardAction.MOVE_CARD, stage="WON"), 1, False)
    stage = (await cards._stages.all())["WON"]
    assert (leads(twin)[0]["STATUS_ID"], stage.semantics, stage.name) == ("WON", "P", "W")


async def test_in_a_simple_crm_the_stage_is_the_portals(twin: Bitrix24Twin, cards: Bitrix24Cards) -> None:
    twin.portal.store.note("crm_mode", 2)
    cards._stages._read_at = None
    delivered = await cards.deliver(command(CardAction.CREATE_CARD, **FULL), 1, False)
    assert delivered.created
    update = command(CardAction.UPDATE_CARD, title="T", stage="NEW", bitrix_lead_id=delivered.lead_id)
    await cards.deliver(update, 1, False)
    assert [(lead["STATUS_ID"], lead["TITLE"]) for lead in leads(twin)] == [("CONVERTED", "T")]


@pytest.mark.parametrize("way", ["hang_after", "cut_after", "error_after", "not_json", "hang_before", "bad_gateway"])
async def test_a_create_of_unknown_outcome_is_created_once(twin: Bitrix24Twin, cards: Bitrix24Cards, way: str) -> None:
    create = command(CardAction.CREATE_CARD, **FULL)
    twin.faults.plan(Fault(way, count=1, seconds=3))
    with pytest.raises(OutcomeUnknown):
        await cards.deliver(create, 1, False)
    done = way in ("hang_after", "cut_after", "error_after", "not_json")
    assert await cards.deliver(create, 2, True) == (1, not done)
    assert await cards.deliver(create, 1, True) == (1, False), "after a kill -9 between call and receipt"
    (lead,) = leads(twin)
    assert lead["PHONE"] == [FULL["phone"]], "replaced, not added"


async def test_a_write_that_was_lost_is_repeated_without_harm(
    twin: Bitrix24Twin, cards: Bitrix24Cards, api: str
) -> None:
    await cards.deliver(command(CardAction.CREATE_CARD, **FULL), 1, False)
    update = command(CardAction.UPDATE_CARD, bitrix_lead_id=1, phone="+79990003344", name="Анна Иванова")
    twin.faults.plan(Fault("hang_after", count=1, methods=(f"crm.{api}.update",), seconds=3))
    with pytest.raises(OutcomeUnknown):
        await cards.deliver(update, 1, False)
    assert await cards.deliver(update, 2, True) == (1, False)
    (lead,) = leads(twin)
    assert (lead["PHONE"], lead["NAME"]) == (["+79990003344"], "Анна Иванова")


@pytest.mark.parametrize("action", [CardAction.MOVE_CARD, CardAction.UPDATE_CARD])
async def test_what_does_not_exist_yet_is_created(twin: Bitrix24Twin, cards: Bitrix24Cards, action: CardAction) -> None:
    change = command(action, **FULL | {"stage": "PROCESSED"})
    assert await cards.deliver(change, 1, False) == (1, True)
    assert await cards.deliver(change, 1, False) == (1, False), "found by its origin"
    assert [(lead["STATUS_ID"], lead["PHONE"]) for lead in leads(twin)] == [("PROCESSED", [FULL["phone"]])]


async def test_a_move_changes_the_stage_and_not_the_person(twin: Bitrix24Twin, cards: Bitrix24Cards) -> None:
    await cards.deliver(command(CardAction.CREATE_CARD, **FULL), 1, False)
    moved = FULL | {"stage": "JUNK", "name": "X", "phone": "+7", "bitrix_lead_id": 1}
    await cards.deliver(command(CardAction.MOVE_CARD, **moved), 1, False)
    (lead,) = leads(twin)
    assert (lead["STATUS_ID"], lead["NAME"], lead["PHONE"]) == ("JUNK", FULL["name"], [FULL["phone"]])


async def test_origins_are_compared_exactly(twin: Bitrix24Twin, cards: Bitrix24Cards) -> None:
    for ext_id in ("a", "A", "a ", "б/%_'\"", "x" * 255, "x" * 254 + "y"):
        create = command(CardAction.CREATE_CARD, ext_id, stage="NEW")
        lead_id, created = await cards.deliver(create, 1, True)
        assert created, ext_id
        assert await cards.deliver(create, 2, True) == (lead_id, False)
    assert all(len(lead["ORIGIN_ID"]) <= 255 for lead in leads(twin))


async def test_leads_of_another_system_are_not_ours(twin: Bitrix24Twin, cards: Bitrix24Cards) -> None:
    twin.portal.leads.add({"ORIGINATOR_ID": "other", "ORIGIN_ID": "estate.lead:L-7"})
    assert await cards.deliver(command(CardAction.MOVE_CARD, stage="JUNK"), 1, False) == (2, True)


@pytest.mark.parametrize("whose", [{}, OURS | {"ORIGIN_ID": "estate.lead:L-8"}, OURS | {"ORIGINATOR_ID": "other"}])
@pytest.mark.parametrize("action", list(CardAction))
async def test_a_lead_id_that_was_learned_elsewhere_is_not_written_to(
    twin: Bitrix24Twin, cards: Bitrix24Cards, whose: dict[str, str], action: CardAction
) -> None:
    """The webhook names another portal now, where a person's lead, or another one of ours, has that id."""
    stranger = twin.portal.leads.add(whose | {"TITLE": "theirs", "COMMENTS": "by hand"}, "person")
    with pytest.raises(Bitrix24Refused, match=f"lead {stranger} is not the one of 'estate.lead:L-7'") as refused:
        await cards.deliver(command(action, **FULL, bitrix_lead_id=stranger), 1, False)
    assert not refused.value.not_found
    assert "KOUNTER_BITRIX24__WEBHOOK_URL" in refused.value.hint
    (lead,) = leads(twin)
    assert (lead["TITLE"], lead["COMMENTS"], lead["PHONE"]) == ("theirs", "by hand", [])


async def test_a_lead_id_that_we_know_costs_no_further_call(twin: Bitrix24Twin, cards: Bitrix24Cards) -> None:
    twin.portal.leads.add(OURS)
    for lead_id, calls in ((1, 2), (OwnId(1), 1)):
        twin._app.requests.clear()
        await cards.deliver(command(CardAction.MOVE_CARD, stage="JUNK", bitrix_lead_id=lead_id), 1, False)
        assert len(twin._app.requests) == calls


async def test_what_a_person_deleted_is_refused_and_not_brought_back(twin: Bitrix24Twin, cards: Bitrix24Cards) -> None:
    await cards.deliver(command(CardAction.CREATE_CARD, **FULL), 1, False)
    twin.portal.leads.delete(1)
    for action in (CardAction.MOVE_CARD, CardAction.UPDATE_CARD):
        with pytest.raises(Bitrix24Refused, match="lead 1 was deleted in the portal") as refused:
            await cards.deliver(command(action, **FULL, bitrix_lead_id=1), 1, False)
        assert "never created again" in refused.value.hint
    assert leads(twin) == []


@pytest.mark.parametrize(
    ("kind", "meaning"), [("QUERY_LIMIT_EXCEEDED", DeliveryUnavailable), ("insufficient_scope", DeliveryDenied)]
)
async def test_other_failures_are_passed_on(
    twin: Bitrix24Twin, cards: Bitrix24Cards, kind: str, meaning: type[DeliveryError]
) -> None:
    twin.faults.plan(Fault(kind))
    for action in CardAction:
        with pytest.raises(meaning):
            await cards.deliver(command(action, **FULL), 1, False)


async def test_nothing_to_say_is_not_said(twin: Bitrix24Twin, cards: Bitrix24Cards) -> None:
    assert await cards.deliver(command(CardAction.UPDATE_CARD, bitrix_lead_id=9), 1, False) == (9, False)
    assert not twin._app.requests


async def test_under_all_faults_each_lead_is_there_once_with_its_last_state(
    twin: Bitrix24Twin, cards: Bitrix24Cards
) -> None:
    ways = ("hang_before", "hang_after", "cut_after", "error_after", "bad_gateway", "QUERY_LIMIT_EXCEEDED")
    twin.faults.plan(*(Fault(way, rate=0.05, seconds=0.35) for way in ways))
    for n in range(12):
        for action, stage in (
            (CardAction.CREATE_CARD, "NEW"),
            (CardAction.UPDATE_CARD, "IN_PROCESS"),
            (CardAction.MOVE_CARD, "CONVERTED"),
        ):
            await until_done(cards, command(action, f"L-{n}", **FULL | {"stage": stage}))
    assert twin.faults.fired.total() > 5
    found = leads(twin)
    assert sorted(lead["ORIGIN_ID"] for lead in found) == sorted(f"estate.lead:L-{n}" for n in range(12))
    assert {(lead["STATUS_ID"], *lead["PHONE"]) for lead in found} == {("CONVERTED", FULL["phone"])}
