"""Calls made at the same time against the twin: one request, and to each caller as if it had called alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from adapters.bitrix24.rest.answers import Bitrix24Refused
from adapters.bitrix24.rest.batcher import MOST_COMMAND
from adapters.bitrix24.rest.client import Bitrix24Client
from adapters.bitrix24.rest.operating_time import LIMIT_S
from adapters.bitrix24.twin.faults import Fault
from adapters.bitrix24.twin.limits import Limits
from adapters.bitrix24.twin.server import Bitrix24Twin
from schemas.errors import DeliveryDenied, DeliveryError, DeliveryUnavailable, OutcomeUnknown
from tests.support.systems.bitrix24 import client_of, settings_of


async def add(portal: Bitrix24Client, **fields: Any) -> int:
    return int((await portal.call("crm.lead.add", {"fields": fields})).result)


async def outcomes(*calls: Any) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)


async def test_a_hundred_calls_are_two_requests(twin: Bitrix24Twin) -> None:
    async with client_of(twin) as portal:
        ids = await asyncio.gather(*(add(portal, TITLE=f"Лид №{n} & [x]=1%", NAME="a+b") for n in range(100)))
        assert twin._app.requests == {"batch": 2}
        leads = await asyncio.gather(*(portal.call("crm.lead.get", {"id": id}) for id in ids))
    assert [lead.result["TITLE"] for lead in leads] == [f"Лид №{n} & [x]=1%" for n in range(100)]
    assert {lead.result["NAME"] for lead in leads} == {"a+b"}


async def test_a_lone_call_goes_as_itself(twin: Bitrix24Twin) -> None:
    async with client_of(twin) as portal:
        await add(portal, TITLE="t")
    assert twin._app.requests == {"crm.lead.add": 1}


async def test_each_has_its_own_outcome(twin: Bitrix24Twin) -> None:
    async with client_of(twin) as portal:
        await add(portal, TITLE="t")
        good, missing, unknown, page = await outcomes(
            portal.call("crm.lead.get", {"id": 1}),
            portal.call("crm.lead.update", {"id": 9, "fields": {"TITLE": "x"}}),
            portal.call("crm.no.such", {"id": 1}),
            portal.call("crm.lead.list", {"filter": {">ID": 0}, "start": 0}),
        )
    assert twin._app.requests["batch"] == 1
    assert good.result["ID"] == "1"
    assert isinstance(missing, Bitrix24Refused)
    assert missing.not_found
    assert isinstance(unknown, Bitrix24Refused)
    assert (page.total, page.next, [row["ID"] for row in page.result]) == (1, None, ["1"])


async def test_all_fail_and_all_succeed(twin: Bitrix24Twin) -> None:
    """Then a map of the answer is empty: ``[]``."""
    async with client_of(twin) as portal:
        failed = await outcomes(*(portal.call("crm.lead.get", {"id": 9}) for _ in range(3)))
        assert all(isinstance(error, Bitrix24Refused) for error in failed)
        assert len(set(map(id, failed))) == 3, "each caller has an error of its own"
        assert await asyncio.gather(add(portal, TITLE="a"), add(portal, TITLE="b")) == [1, 2]


@pytest.mark.parametrize("way", ["hang_after", "cut_after", "error_after", "not_json", "bad_gateway"])
async def test_a_lost_batch_is_unknown_to_writes_and_unavailable_to_reads(twin: Bitrix24Twin, way: str) -> None:
    async with client_of(twin, 0.3) as portal:
        twin.faults.plan(Fault(way, count=1, seconds=3))
        write, read = await outcomes(add(portal, TITLE="t"), portal.call("crm.lead.list", {"start": -1}))
    assert isinstance(write, OutcomeUnknown)
    assert isinstance(read, DeliveryUnavailable)


@pytest.mark.parametrize(
    ("code", "meaning"), [("PORTAL_DELETED", DeliveryDenied), ("OPERATION_TIME_LIMIT", DeliveryUnavailable)]
)
async def test_what_is_said_of_the_batch_is_said_of_each(
    twin: Bitrix24Twin, code: str, meaning: type[DeliveryError]
) -> None:
    async with client_of(twin) as portal:
        twin.faults.plan(Fault(code, count=1))
        failed = await outcomes(add(portal, TITLE="a"), add(portal, TITLE="b"))
    assert all(type(error) is meaning for error in failed)


async def test_a_batch_that_is_refused_is_held_against_none_of_its_calls(twin: Bitrix24Twin) -> None:
    async with client_of(twin) as portal:
        twin.faults.plan(Fault("INVALID_REQUEST", methods=("batch",), count=1))
        made = await asyncio.gather(*(add(portal, TITLE=str(n)) for n in range(5)))
    assert sorted(made) == [1, 2, 3, 4, 5], "each alone, side by side"
    assert twin._app.requests == {"batch": 1, "crm.lead.add": 5}


async def test_what_a_batch_would_say_wrongly_goes_alone(twin: Bitrix24Twin) -> None:
    """``$result[…]`` in a value would be replaced by what another's command found."""
    names = ["$result[c0]", "Анна$result", "x" * MOST_COMMAND, "plain", "plain"]
    async with client_of(twin) as portal:
        ids = await asyncio.gather(*(add(portal, NAME=name) for name in names))
        await asyncio.gather(*(portal.call("crm.lead.list", {"filter": {}}) for _ in range(2)))
    assert [twin.portal.leads.doc(id)["NAME"] for id in ids] == [name[:50] for name in names]
    assert twin._app.requests == {"crm.lead.add": 3, "batch": 1, "crm.lead.list": 2}


async def test_callers_that_left_are_not_called_for(twin: Bitrix24Twin) -> None:
    async with client_of(twin) as portal:
        leaving = [asyncio.create_task(add(portal, TITLE="gone")) for _ in range(3)]
        staying = asyncio.create_task(add(portal, TITLE="here"))
        await asyncio.sleep(0)
        for task in leaving:
            task.cancel()
        assert await staying == 1
    assert twin._app.requests == {"crm.lead.add": 1}


async def test_a_closed_client_lets_its_callers_know(twin: Bitrix24Twin) -> None:
    twin.faults.plan(Fault("hang_after", count=1, seconds=3))
    async with client_of(twin) as portal:
        calls = [asyncio.create_task(add(portal, TITLE="t")) for _ in range(2)]
        await asyncio.sleep(0.1)
    for call in calls:
        with pytest.raises(OutcomeUnknown):
            await call


async def test_at_a_portals_real_limits_nothing_is_refused() -> None:
    clock = Clock()

    async def sleep(seconds: float) -> None:
        while portal._batcher._tasks:  # noqa: ASYNC110 - no request is under way while the time moves on
            await asyncio.sleep(0)
        clock.now += seconds

    async with Bitrix24Twin(limits=Limits(capacity=5, drain_per_s=2), clock=clock) as twin:
        settings = settings_of(twin, calls_per_s=2, burst=5)
        async with Bitrix24Client(settings, clock, sleep) as portal:
            begun = clock.now
            ids = await asyncio.gather(*(add(portal, TITLE="t") for _ in range(1_000)))
        refused, batches = twin.portal.gate.refused, twin._app.requests["batch"]
    assert (len(set(ids)), refused, batches) == (1_000, 0, 20)
    assert clock.now - begun == pytest.approx(7.75, abs=0.01), "4.5 of 20 requests at once, the rest at 2 a second"


async def test_a_method_whose_time_is_used_up_is_not_called_until_its_slot_is_forgotten() -> None:
    clock = Clock()
    limits = Limits(capacity=10_000, operating_s=LIMIT_S, operating_cost_s=100)
    async with Bitrix24Twin(limits=limits, clock=clock) as twin, client_of(twin) as portal:
        portal._operating._clock = clock
        await asyncio.gather(*(portal.call("crm.lead.list", {"start": -1}) for _ in range(4)))
        clock.now += 60
        await portal.call("crm.lead.list", {"start": -1})
        asked = sum(twin._app.requests.values())
        with pytest.raises(DeliveryUnavailable, match="operating time") as full:
            await portal.call("crm.lead.list", {"start": -1})
        assert sum(twin._app.requests.values()) == asked
        assert full.value.retry_after == 540.0
        await portal.call("profile", {})
        clock.now += 540
        await asyncio.gather(*(portal.call("crm.lead.list", {"start": -1}) for _ in range(3)))


class Clock:
    """A clock that a test moves, at the begin of a slot."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now
