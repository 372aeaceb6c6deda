"""Our state beside the portal's: each difference by its name, and all leads of ours found in batches."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.bitrix24.audit import Difference, Drift, OurLead, compare, portal_leads
from adapters.bitrix24.items import Items
from adapters.bitrix24.leads import LeadApi, Leads, Phone, PortalLead
from adapters.bitrix24.twin.server import Bitrix24Twin
from tests.support.systems.bitrix24 import client_of

OURS = OurLead("7", "crm.user:7", 1, "NEW", "Лид", "+7 999 000-11-22")


def theirs(
    id: int = 1, origin: str = "crm.user:7", phones: tuple[str, ...] = ("89990001122",), **more: Any
) -> PortalLead:
    fields = {"ID": id, "ORIGIN_ID": origin, "STATUS_ID": "NEW", "TITLE": "Лид", "DATE_MODIFY": datetime.now(UTC)}
    found = [Phone(ID=n, VALUE=value) for n, value in enumerate(phones, 1)]
    return PortalLead.model_validate(fields | {"PHONE": found} | more)


@pytest.mark.parametrize(
    ("ours", "portals", "differences"),
    [
        ([OURS], [theirs()], []),
        ([], [], []),
        ([OURS], [theirs(phones=("+71", "+79990001122"))], []),
        ([OURS._replace(stage=None, title=None, phone=None)], [theirs(STATUS_ID="JUNK", TITLE="x", phones=())], []),
        ([OURS._replace(title="x" * 300)], [theirs(TITLE="x" * 255)], []),
        ([OURS], [], [("7", Drift.DELETED, "1", "")]),
        ([OURS._replace(lead_id=None)], [], [("7", Drift.MISSING, "", "")]),
        ([OURS._replace(lead_id=None)], [theirs()], []),
        ([OURS], [theirs(STATUS_ID="JUNK")], [("7", Drift.STAGE, "NEW", "JUNK")]),
        ([OURS], [theirs(TITLE="Дача")], [("7", Drift.TITLE, "Лид", "Дача")]),
        ([OURS], [theirs(phones=("+71", "+72"))], [("7", Drift.PHONE, "+7 999 000-11-22", "+71, +72")]),
        ([OURS], [theirs(2), theirs(1)], [("7", Drift.DOUBLED, "1", "1, 2")]),
        ([OURS], [theirs(5)], [("7", Drift.MOVED, "1", "5")]),
        ([], [theirs(9, "crm.user:9"), theirs(3, "x")],
         [("x", Drift.UNKNOWN, "", "3"), ("crm.user:9", Drift.UNKNOWN, "", "9")]),
    ],
)  # fmt: skip
def test_differences(ours: list[OurLead], portals: list[PortalLead], differences: list[Any]) -> None:
    assert compare(ours, portals) == [Difference(*difference) for difference in differences]


def test_stages_of_a_simple_crm_are_its_own() -> None:
    assert compare([OURS], [theirs(STATUS_ID="CONVERTED")], simple=True) == []


@pytest.mark.parametrize("api", [Leads, Items])
async def test_all_of_ours_are_found_in_few_requests(twin: Bitrix24Twin, api: type[Leads] | type[Items]) -> None:
    mine = set()
    for n in range(3_000):
        originator = ("kounter", "other", "KOUNTER", "")[0 if n % 3 == 0 else n % 4]
        lead_id = twin.portal.leads.add({"ORIGINATOR_ID": originator, "ORIGIN_ID": f"crm.user:{n}"})
        if originator == "kounter":
            mine.add(lead_id)
    twin.portal.leads.delete(1)
    mine.discard(1)
    async with client_of(twin) as portal:
        leads: LeadApi = api(portal)
        found = [lead.id async for lead in portal_leads(leads, "kounter")]
        assert len(found) == len(set(found))
        assert set(found) == mine
        assert sum(twin._app.requests.values()) <= 3
        assert [lead async for lead in portal_leads(leads, "nobody")] == []


@pytest.mark.parametrize("count", [1, 2, 49, 50, 51, 101])
async def test_few_are_found_too(twin: Bitrix24Twin, count: int) -> None:
    for _ in range(count):
        twin.portal.leads.add({"ORIGINATOR_ID": "kounter"})
    async with client_of(twin) as portal:
        found = [lead.id async for lead in portal_leads(Leads(portal), "kounter")]
    assert sorted(found) == list(range(1, count + 1))
