"""The twin with a client that we did not write: fast_bitrix24, which pages, batches and paces as it thinks a portal
wants it."""

from __future__ import annotations

import asyncio

import pytest
from fast_bitrix24 import BitrixAsync  # type: ignore[import-untyped]

from adapters.bitrix24.twin.limits import Limits
from adapters.bitrix24.twin.server import Bitrix24Twin
from tests.support.systems.bitrix24 import client_of


@pytest.fixture
def fast(twin: Bitrix24Twin) -> BitrixAsync:
    return BitrixAsync(twin.webhook_url, verbose=False)


async def test_creates_in_batches_and_reads_all_pages(twin: Bitrix24Twin, fast: BitrixAsync) -> None:
    ids = await fast.call("crm.lead.add", [{"fields": {"TITLE": f"Лид {n}"}} for n in range(170)])
    assert sorted(ids) == list(range(1, 171))
    assert 0 < twin._app.requests["batch"] <= 4
    leads = await fast.get_all("crm.lead.list", params={"select": ["ID", "TITLE"], "filter": {"STATUS_ID": "NEW"}})
    assert sorted(int(lead["ID"]) for lead in leads) == list(range(1, 171))
    titles = {lead["TITLE"] for lead in leads}
    assert titles == {f"Лид {n}" for n in range(170)}


async def test_reads_by_id_and_changes(fast: BitrixAsync) -> None:
    await fast.call("crm.lead.add", [{"fields": {"TITLE": f"t{n}"}} for n in range(60)])
    found = await fast.get_by_ID("crm.lead.get", list(range(1, 61)))
    assert {int(key): lead["TITLE"] for key, lead in found.items()} == {n + 1: f"t{n}" for n in range(60)}
    changes = [{"ID": n, "fields": {"STATUS_ID": "JUNK"}} for n in range(1, 61)]
    assert list(await fast.call("crm.lead.update", changes)) == [True] * 60
    junk = await fast.get_all("crm.lead.list", params={"filter": {"STATUS_ID": "JUNK"}})
    assert len(junk) == 60


async def test_a_batch_of_its_own(twin: Bitrix24Twin, fast: BitrixAsync) -> None:
    """Later commands use what earlier ones found; as the documentation shows it."""
    commands = {
        "made": "crm.lead.add?fields[TITLE]=Дом&fields[PHONE][0][VALUE]=%2B79990001122",
        "read": "crm.lead.get?id=$result[made]",
        "said": "crm.timeline.comment.add?fields[ENTITY_ID]=$result[made]&fields[ENTITY_TYPE]=lead&fields[COMMENT]=a",
        "found": "crm.duplicate.findbycomm?type=PHONE&values[]=89990001122&entity_type=LEAD",
        "first": "crm.lead.update?id=$result[found][LEAD][0]&fields[NAME]=$result[read][TITLE] 1",
    }
    found = await fast.call_batch({"halt": 0, "cmd": commands})
    assert (found["made"], found["read"]["TITLE"], found["found"], found["first"]) == (1, "Дом", {"LEAD": [1]}, True)
    assert twin.portal.leads.doc(1)["NAME"] == "Дом 1"
    assert [
        comment["ID"] for comment in twin.portal.crm.timeline.list({"ENTITY_ID": 1, "ENTITY_TYPE": "lead"}, True)
    ] == ["1"]


async def test_it_and_our_client_find_the_same(twin: Bitrix24Twin, fast: BitrixAsync) -> None:
    async with client_of(twin) as ours:
        calls = (ours.call("crm.lead.add", {"fields": {"TITLE": f"t{n}"}}) for n in range(120))
        made = [reply.result for reply in await asyncio.gather(*calls)]
    assert sorted(int(lead["ID"]) for lead in await fast.get_all("crm.lead.list")) == sorted(made)


async def test_stages(fast: BitrixAsync) -> None:
    stages = await fast.get_all("crm.status.list", params={"filter": {"ENTITY_ID": "STATUS"}})
    assert [stage["STATUS_ID"] for stage in stages] == ["NEW", "IN_PROCESS", "PROCESSED", "CONVERTED", "JUNK"]


async def test_its_pace_fits_our_limits() -> None:
    """Its leaky bucket and ours agree: within one full bucket nothing is refused."""
    async with Bitrix24Twin(limits=Limits()) as twin:
        fast = BitrixAsync(twin.webhook_url, verbose=False)
        await fast.call("crm.lead.add", [{"fields": {"TITLE": f"t{n}"}} for n in range(500)])
        assert len(await fast.get_all("crm.lead.list")) == 500
        assert sum(twin._app.requests.values()) < 50
