"""The way back: events of the portal, leads read anew, and the walk through what changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from adapters.bitrix24.changes import OVERLAP, Reconciliation, changes_since, read_comment, read_lead
from adapters.bitrix24.items import Items
from adapters.bitrix24.leads import BadLead, LeadApi, Leads, PortalLead
from adapters.bitrix24.rest.php_form import format_brackets
from adapters.bitrix24.settings import Bitrix24HookSettings
from adapters.bitrix24.twin.server import Bitrix24Twin
from adapters.bitrix24.webhook import FORM, MOST_BYTES, HookEvent, HookName, hooks_router
from schemas.errors import DeliveryUnavailable
from tests.support.systems.bitrix24 import Listener, client_of, register

TOKEN = "of the test"
START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Clock:
    """A portal's clock that a test moves."""

    def __init__(self) -> None:
        self.now = START.timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def dated(clock: Clock) -> AsyncIterator[Bitrix24Twin]:
    async with Bitrix24Twin(clock=clock) as twin:
        yield twin


@pytest.fixture(params=[Leads, Items])
async def leads(request: pytest.FixtureRequest, dated: Bitrix24Twin) -> AsyncIterator[LeadApi]:
    async with client_of(dated) as portal:
        api: LeadApi = request.param(portal)
        yield api


class Hooked:
    """Our endpoint, as a portal finds it."""

    def __init__(self, token: str = TOKEN) -> None:
        self.events: list[HookEvent] = []
        app = FastAPI()
        app.include_router(hooks_router(Bitrix24HookSettings(application_token=SecretStr(token)), self._take))
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here")

    async def _take(self, event: HookEvent) -> None:
        self.events.append(event)

    async def post(self, body: str | bytes, kind: str = FORM) -> int:
        answer = await self._http.post("/hooks/bitrix24", content=body, headers={"content-type": kind})
        return answer.status_code


def form(token: str = TOKEN, event: Any = "ONCRMLEADUPDATE", id: Any = 7405, ts: Any = 1766047124) -> str:
    return format_brackets(
        {"event": event, "data": {"FIELDS": {"ID": id}}, "ts": ts, "auth": {"application_token": token}}
    )


async def test_an_event_of_the_twin_is_taken(dated: Bitrix24Twin, clock: Clock) -> None:
    hooked = Hooked()
    async with Listener() as listener, httpx.AsyncClient(base_url=dated.url, trust_env=False) as control:
        await register(dated, listener.url)
        dated.portal.leads.add({"TITLE": "t"})
        dated.portal.leads.update(1, {"TITLE": "u"})
        answer = await control.post("_twin/leads/1/comments", json={"comment": "Звонил"})
        assert answer.json() == {"id": 1}
        dated.portal.leads.delete(1)
        for _ in range(4):
            assert await hooked.post(await listener.next()) == 200
    assert [(event.name, event.id) for event in hooked.events] == [
        (HookName.LEAD_ADD, 1),
        (HookName.LEAD_UPDATE, 1),
        (HookName.COMMENT_ADD, 1),
        (HookName.LEAD_DELETE, 1),
    ]
    assert hooked.events[0].ts == int(clock.now)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (form(), 200),
        (form(event="ONCRMDEALADD"), 200),
        (form(event=["ONCRMLEADADD"]), 200),
        (form(token=""), 403),
        (form(token="of the tesT"), 403),
        (form(token="ж"), 403),
        ("", 403),
        ("auth=x&auth[application_token][]=of+the+test&event=ONCRMLEADADD", 403),
        (b"\xff\xfe", 403),
        ("&".join("a=1" for _ in range(10_001)), 403),
        ("a" + "[b]" * 100 + "=1", 403),
        (form(id=0), 422),
        (form(id="-1"), 422),
        (form(id="9" * 30), 422),
        (form(id={"x": 1}), 422),
        (form(ts="now"), 422),
        ("x" * (MOST_BYTES + 1), 413),
    ],
)
async def test_what_is_answered(body: str | bytes, status: int) -> None:
    hooked = Hooked()
    assert await hooked.post(body) == status
    assert hooked.events == ([HookEvent(HookName.LEAD_UPDATE, 7405, 1766047124)] if body == form() else [])


async def test_only_forms_are_taken() -> None:
    hooked = Hooked()
    assert await hooked.post(form(), "application/json") == 415
    assert await hooked.post(form(), FORM + "; charset=utf-8") == 200


async def test_without_a_token_of_ours_none_is_right() -> None:
    hooked = Hooked("")
    assert await hooked.post(form(token="")) == 403


async def test_a_lead_is_read_as_it_is_now(dated: Bitrix24Twin, leads: LeadApi) -> None:
    phones = [{"VALUE": "+79990001122", "VALUE_TYPE": "WORK"}, {"VALUE": "+7999", "VALUE_TYPE": "MOBILE"}]
    fields = {"TITLE": "t", "NAME": "Анна", "STATUS_ID": "JUNK", "COMMENTS": "c", "OPPORTUNITY": "10.50"}
    dated.portal.leads.add(fields | {"ORIGINATOR_ID": "kounter", "ORIGIN_ID": "crm.user:1", "PHONE": phones})
    dated.portal.leads.add({})
    lead = await read_lead(leads, 1)
    assert lead is not None
    assert [(phone.value, phone.kind) for phone in lead.phones] == [("+79990001122", "WORK"), ("+7999", "MOBILE")]
    assert (lead.title, lead.name, lead.stage, lead.comment) == ("t", "Анна", "JUNK", "c")
    assert lead.opportunity == Decimal("10.5")
    assert (lead.originator, lead.origin, lead.date_modify) == ("kounter", "crm.user:1", START)
    bare = await read_lead(leads, 2)
    assert bare is not None
    assert (bare.name, bare.phones, bare.origin) == ("", (), "")
    dated.portal.leads.delete(1)
    assert await read_lead(leads, 1) is None


async def test_a_comment_is_read(dated: Bitrix24Twin) -> None:
    dated.portal.leads.add({})
    dated.portal.crm.timeline.add({"ENTITY_ID": 1, "ENTITY_TYPE": "lead", "COMMENT": "Приедем в 10"})
    async with client_of(dated) as portal:
        comment = await read_comment(portal, 1)
        assert comment is not None
        assert (comment.entity_type, comment.entity_id, comment.text) == ("lead", 1, "Приедем в 10")
        assert await read_comment(portal, 2) is None


async def walked(leads: LeadApi, since: datetime) -> list[int]:
    return [lead.id async for lead in changes_since(leads, since)]


async def test_all_changes_come_newest_last(dated: Bitrix24Twin, leads: LeadApi, clock: Clock) -> None:
    for n in range(1, 321):
        if n in (30, 200, 310):  # 170 leads of one second, more than three pages
            clock.now += 1
        dated.portal.leads.add({})
    clock.now += 5
    dated.portal.leads.update(50, {"TITLE": "changed"})
    expected = [n for n in range(1, 321) if n != 50] + [50]
    assert await walked(leads, START) == expected
    assert await walked(leads, START + timedelta(seconds=1)) == expected[29:]
    assert await walked(leads, START + timedelta(seconds=1.7)) == expected[29:]
    assert await walked(leads, START + timedelta(seconds=4)) == [50]
    assert await walked(leads, START + timedelta(seconds=60)) == []


async def test_whole_pages_end_where_they_end(dated: Bitrix24Twin, leads: LeadApi) -> None:
    for _ in range(100):
        dated.portal.leads.add({})
    assert await walked(leads, START) == list(range(1, 101))


async def test_reconciliation_tells_each_state_once(dated: Bitrix24Twin, leads: LeadApi, clock: Clock) -> None:
    told: list[tuple[int, str]] = []

    async def tell(lead: PortalLead) -> None:
        told.append((lead.id, lead.title))

    walks = Reconciliation(leads, START, tell)
    dated.portal.leads.add({"TITLE": "a"})
    clock.now += 10
    dated.portal.leads.add({"TITLE": "b"})
    assert await walks.walk() == 2
    assert await walks.walk() == 0
    dated.portal.leads.update(1, {"TITLE": "a2"})  # in the second that was walked already
    assert await walks.walk() == 1
    clock.now += OVERLAP.total_seconds() * 3
    dated.portal.leads.update(2, {"TITLE": "b2"})
    assert await walks.walk() == 1
    assert told == [(1, "a"), (2, "b"), (1, "a2"), (2, "b2")]
    assert walks.since == START + timedelta(seconds=190)
    assert set(walks._told) == {2}, "bounded memory"


async def test_reconciliation_outlives_a_portal_that_is_away(dated: Bitrix24Twin) -> None:
    waits: list[float] = []
    told: list[int] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1:
            dated.portal.leads.add({})
        if len(waits) == 3:
            raise asyncio.CancelledError

    async def tell(lead: PortalLead) -> None:
        told.append(lead.id)

    class Failing(Leads):
        async def page(self, *args: Any) -> list[PortalLead | BadLead]:
            if len(waits) == 1:
                raise DeliveryUnavailable("busy", retry_after=99)
            return await super().page(*args)

    async with client_of(dated) as portal:
        with pytest.raises(asyncio.CancelledError):
            await Reconciliation(Failing(portal), START, tell).run(30, sleep)
    assert (waits, told) == ([30, 99, 30], [1])
