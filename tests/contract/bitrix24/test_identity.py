"""Which portal answers: told apart by its address, and by the leads of ours that stand there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from adapters.bitrix24.identity import SamePortal, decide, same
from adapters.bitrix24.sink import Bitrix24Sink
from adapters.bitrix24.twin.faults import Fault
from adapters.bitrix24.twin.server import Bitrix24Twin
from schemas.bitrix24 import CardAction, CardCommand
from schemas.errors import BrokenSetup, DeliveryUnavailable
from tests.support.systems.bitrix24 import ORIGINATOR, settings_of

REAL = {"host": "a.bitrix24.ru", "user": "u1", "leads": {"7": "m7", "8": "m8"}}


class Kept:
    """What stands in Kafka, here in memory."""

    def __init__(self) -> None:
        self.known: dict[str, Any] | None = None

    async def settle(self, decide: Callable[[Any], Any]) -> None:
        self.known = decide(self.known)


@pytest.mark.parametrize(
    ("came", "is_same"),
    [
        ({}, True),
        ({"user": "u2"}, True),  # a webhook that was made anew, by another person
        ({"host": "new.bitrix24.ru"}, True),  # its domain was changed
        ({"host": "new.bitrix24.ru", "leads": {"8": "m8"}}, True),  # and somebody has deleted a lead
        ({"host": "b.bitrix24.ru", "leads": {}}, False),
        ({"host": "b.bitrix24.ru", "leads": {"7": "theirs"}}, False),
        ({"leads": {"7": "theirs"}}, False),  # the same address, and all is another's
        ({"leads": {}}, True),
    ],
)
def test_a_portal_is_known_by_what_we_made_there_then_by_its_address(came: dict[str, Any], is_same: bool) -> None:
    assert same(REAL, REAL | came) is is_same


def test_on_this_machine_the_address_says_nothing() -> None:
    twin = {"host": "127.0.0.1", "user": "u1", "leads": {}}
    assert same(twin, twin)
    assert not same(twin, twin | {"user": "u2"})


def test_another_portal_is_told_with_what_to_do() -> None:
    assert decide(None, REAL) == REAL
    with pytest.raises(
        BrokenSetup, match=r"carried out in a\.bitrix24\.ru .* now the webhook is of b\.bitrix24\.ru"
    ) as e:
        decide(REAL, REAL | {"host": "b.bitrix24.ru", "leads": {}})
    assert "kounter adopt portal" in e.value.hint
    assert decide(REAL | {"moved": True}, REAL | {"host": "c.bitrix24.ru"}) == REAL | {
        "host": "c.bitrix24.ru",
        "moved": True,
    }


def card(ext_id: str = "L-1", **fields: Any) -> CardCommand:
    return CardCommand(ext_id=ext_id, command_id="c", aggregate="estate.lead", title="T", **fields)


@pytest.mark.parametrize("api", ["lead", "item"])
async def test_the_same_portal_at_another_address_goes_on_and_another_one_does_not(api: str, tmp_path: Path) -> None:
    kept, file = Kept(), tmp_path / "portal.sqlite"
    async with Bitrix24Twin(db_path=file) as twin, SamePortal(settings_of(twin, api=api), kept.settle) as portal:
        await portal.begin()
        assert kept.known is not None
        assert kept.known["leads"] == {}
        await Bitrix24Sink.of(portal, ORIGINATOR).deliver(card(), None, 1, False)
    for _ in range(2):  # on another port each time; the first learns of the lead
        async with Bitrix24Twin(db_path=file) as twin, SamePortal(settings_of(twin, api=api), kept.settle) as portal:
            await portal.begin()
    assert set(kept.known["leads"]) == {"1"}
    async with Bitrix24Twin() as other, SamePortal(settings_of(other, api=api), kept.settle) as portal:
        with pytest.raises(BrokenSetup, match="another portal"):
            await portal.begin()
        with pytest.raises(BrokenSetup, match="another portal"):
            await Bitrix24Sink.of(portal, ORIGINATOR).deliver(card("L-2"), None, 1, False)
        assert not other.portal.leads.find({}, {}, 0).docs


async def test_it_is_looked_at_again_after_an_outage_and_costs_nothing_else(tmp_path: Path) -> None:
    """What comes back at the address may be another one."""
    kept = Kept()
    async with Bitrix24Twin(db_path=tmp_path / "a") as twin, SamePortal(settings_of(twin), kept.settle) as portal:
        await portal.begin()
        twin._app.requests.clear()
        for _ in range(3):
            await portal.call("crm.lead.list", {})
        assert "batch" not in twin._app.requests
        twin.faults.plan(Fault("bad_gateway", count=1))
        with pytest.raises(DeliveryUnavailable):
            await portal.call("crm.lead.list", {})
        await portal.call("crm.lead.list", {})
        assert twin._app.requests["batch"] == 1, "both questions are one request"
        twin.faults.plan(Fault("bad_gateway", count=1))
        with pytest.raises(DeliveryUnavailable):
            await portal.call("crm.lead.list", {})
        twin.portal.store.note("twin", "another")
        with pytest.raises(BrokenSetup, match="another portal"):
            await portal.call("crm.lead.list", {})


async def test_a_portal_that_is_away_at_the_start_is_looked_at_before_the_first_call() -> None:
    kept = Kept()
    kept.known = REAL
    async with Bitrix24Twin() as twin:
        settings = settings_of(twin)
        twin.faults.plan(Fault("bad_gateway", count=1))
        async with SamePortal(settings, kept.settle) as portal:
            await portal.begin()
            with pytest.raises(BrokenSetup):
                await portal.call("crm.lead.add", {"fields": {}})
        assert not twin.portal.leads.find({}, {}, 0).docs


async def test_after_a_move_the_old_portals_ids_do_not_count(twin: Bitrix24Twin) -> None:
    twin.portal.leads.add({"TITLE": "a stranger's"})
    async with SamePortal(settings_of(twin), Kept().settle) as portal:
        sink = Bitrix24Sink.of(portal, ORIGINATOR, moved=True)
        done = await sink.deliver(card(action=CardAction.UPDATE_CARD, bitrix_lead_id=1), None, 1, False)
        assert (done.answer.lead_id, done.answer.created) == (2, True)
        assert (
            await sink.deliver(card(action=CardAction.UPDATE_CARD, bitrix_lead_id=1), None, 1, False)
        ).answer.lead_id == 2


def test_no_secret_is_kept() -> None:
    url = SecretStr("https://a.bitrix24.ru/rest/1/secretcode/")
    portal = SamePortal(settings_of(Bitrix24Twin()).model_copy(update={"webhook_url": url}), Kept().settle)
    assert portal._host == "a.bitrix24.ru"
