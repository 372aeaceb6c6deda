"""A lead of the portal's that can't be read holds up none of its neighbours, and is not taken for one that is gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from pydantic import SecretStr

from adapters.bitrix24.audit import Difference, Drift, OurLead, compare, portal_leads
from adapters.bitrix24.changes import OVERLAP, Reconciliation, changes_since
from adapters.bitrix24.identity import SamePortal
from adapters.bitrix24.items import Items
from adapters.bitrix24.leads import PAGE, BadLead, LeadApi, Leads, PortalLead
from adapters.bitrix24.rest.answers import Bitrix24Refused, Reply
from adapters.bitrix24.rest.client import Bitrix24Client
from adapters.bitrix24.settings import Bitrix24Settings
from schemas.errors import DeliveryDenied, DeliveryError, DeliveryUnavailable

START = datetime(2026, 11, 1, tzinfo=UTC)
BAD: dict[str, Any] = {"PHONE": "no list"}


class Portal:
    """So many leads, a second apart; some with odd fields."""

    def __init__(self, count: int, odd: dict[int, dict[str, Any]]) -> None:
        self.rows = {n: row(n) | odd.get(n, {}) for n in range(1, count + 1)}
        self.api = "lead"
        self.single: dict[int, Any] = {}
        """What stands in the place of a lead when it is asked for alone."""

    async def call(self, method: str, params: Any) -> Reply:
        if method == "profile":
            return Reply({"ID": "1"}, None, None)
        if method == "crm.lead.get":
            found = self.single.get(params["id"]) or self.rows[params["id"]]
            if isinstance(found, DeliveryError):
                raise found
            return Reply(found, None, None)
        since, above = params["filter"].get(">=DATE_MODIFY"), params["filter"].get(">ID", 0)
        last = params["filter"].get("<=ID", 10**9)
        rows = [r for n, r in self.rows.items() if above < n <= last and (since is None or moment(n) >= since)]
        if "DESC" in params["order"].values():
            rows.reverse()
        return Reply(rows[:PAGE], None, None)


def row(n: int) -> dict[str, Any]:
    return {"ID": str(n), "DATE_MODIFY": moment(n), "ORIGIN_ID": f"estate.lead:{n}", "ORIGINATOR_ID": "kounter"}


def moment(n: int) -> str:
    return (START + timedelta(seconds=n)).isoformat(timespec="seconds")


async def walk(portal: Portal, **more: Any) -> tuple[Reconciliation, list[int]]:
    told: list[int] = []

    async def tell(lead: PortalLead) -> None:
        told.append(lead.id)

    walks = Reconciliation(Leads(cast(Bitrix24Client, portal)), START, tell, **more)
    await walks.walk()
    return walks, told


ODD = [
    BAD,
    {"DATE_MODIFY": "yesterday"},
    {"ID": None},
    {"TITLE": {"not": "text"}},
    {"OPPORTUNITY": "much"},
]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("place", [1, 30, PAGE, 2 * PAGE])
async def test_the_walk_goes_on_behind_a_lead_that_cant_be_read(odd: dict[str, Any], place: int) -> None:
    count = 2 * PAGE + 20
    walks, told = await walk(Portal(count, {place: odd}))
    assert told == [n for n in range(1, count + 1) if n != place]
    assert walks.since == START + timedelta(seconds=count)
    assert list(walks.unread) == ([] if "ID" in odd else [place])


async def test_it_is_read_again_before_each_walk() -> None:
    portal = Portal(9, {3: BAD})
    walks, told = await walk(portal)
    portal.single[3] = DeliveryDenied("ACCESS_DENIED")
    await walks.walk()
    assert told[-1] == 9
    portal.single[3] = row(3)
    del portal.rows[3]
    await walks.walk()
    assert told[-1] == 3
    assert not walks.unread


async def test_an_earlier_process_leaves_what_it_could_not_read() -> None:
    portal = Portal(9, {})
    portal.rows = {}
    portal.single = {4: row(4), 5: Bitrix24Refused("Not found", not_found=True)}
    walks, told = await walk(portal, unread=[4, 5])
    assert told == [4]
    assert not walks.unread


async def test_an_odd_date_far_ahead_hides_no_later_change() -> None:
    walks, told = await walk(Portal(9, {9: {"DATE_MODIFY": "2999-01-01T00:00:00+03:00"}}))
    assert told == list(range(1, 10))
    assert walks.since <= datetime.now(UTC)


async def test_a_page_of_which_nothing_can_be_read_is_waited_for() -> None:
    with pytest.raises(DeliveryUnavailable, match="whole page"):
        await walk(Portal(60, {n: {"DATE_MODIFY": None, "ID": None} for n in range(1, 61)}))


@pytest.mark.parametrize("odd", [BAD, {"ID": "x"}, BAD | {"ORIGIN_ID": {}}, BAD | {"ORIGINATOR_ID": []}])
@pytest.mark.parametrize("place", [1, 30, PAGE, 120])
async def test_the_comparison_goes_on_and_says_what_it_could_not_read(odd: dict[str, Any], place: int) -> None:
    leads: LeadApi = Leads(cast(Bitrix24Client, Portal(120, {place: odd})))
    found = [lead async for lead in portal_leads(leads, "kounter")]
    assert sorted(lead.id for lead in found if isinstance(lead, PortalLead)) == [n for n in range(1, 121) if n != place]
    ours = [OurLead(f"{n}", f"estate.lead:{n}", n) for n in range(1, 121)]
    assert {one.field for one in compare(ours, found)} == {Drift.UNREADABLE}


def test_what_may_be_the_lead_that_cant_be_read_is_neither_missing_nor_deleted() -> None:
    vague = BadLead(id=None, originator=None, origin=None, date_modify=None, why="PHONE")
    new, made = OurLead("7", "crm.user:7", None), OurLead("8", "crm.user:8", 8)
    assert [(d.ext_id, d.field) for d in compare([new, made], [vague])] == [
        ("7", Drift.UNREADABLE),
        ("8", Drift.UNREADABLE),
        ("", Drift.UNREADABLE),
    ]
    known = vague.model_copy(update={"id": 8, "origin": "crm.user:8"})
    assert compare([new, made], [known])[:2] == [
        Difference("7", Drift.MISSING, "", ""),
        Difference("8", Drift.UNREADABLE, "8", "8"),
    ]


async def test_rows_of_the_new_api_likewise() -> None:
    class New:
        async def call(self, method: str, params: Any) -> Reply:
            one = {"id": 1, "updatedTime": moment(1), "originId": "x", "fm": []}
            return Reply({"items": [one, one | {"id": 2, "updatedTime": "never"}]}, None, None)

    good, bad = await Items(cast(Bitrix24Client, New())).page({}, {})
    assert isinstance(good, PortalLead)
    assert isinstance(bad, BadLead)
    assert (bad.id, bad.origin, bad.date_modify) == (2, "x", None)


async def test_a_portal_that_ignores_the_date_is_not_walked_in_circles() -> None:
    portal = Portal(2 * PAGE, {})
    walk = changes_since(Leads(cast(Bitrix24Client, portal)), START + timedelta(days=1))
    call, calls = portal.call, 0

    async def ignoring(method: str, params: Any) -> Reply:
        nonlocal calls
        calls += 1
        assert calls < 10
        return await call(method, {**params, "filter": {}})

    portal.call = ignoring  # type: ignore[method-assign]
    with pytest.raises(DeliveryUnavailable, match="rows are not those"):
        assert [lead async for lead in walk] == []


async def test_a_long_walk_remembers_only_what_it_may_meet_again() -> None:
    """The first walk goes through seven days, in which a portal may have changed every lead."""
    most = 0

    async def tell(lead: PortalLead) -> None:
        nonlocal most
        most = max(most, len(walks._told))

    walks = Reconciliation(Leads(cast(Bitrix24Client, Portal(20 * PAGE, {}))), START, tell)
    await walks.walk()
    assert most <= 2 * OVERLAP.total_seconds() + PAGE


@pytest.mark.parametrize("odd", [BAD, {"ID": None}])
async def test_a_portal_is_known_by_its_other_leads_where_one_cant_be_read(odd: dict[str, Any]) -> None:
    settings = Bitrix24Settings(webhook_url=SecretStr("https://a.bitrix24.ru/rest/1/code/"))

    async def settle(decide: Any) -> None: ...

    async with SamePortal(settings, settle) as same:
        same._looks = Portal(3, {2: odd})  # type: ignore[assignment]
        assert (await same.came({}))["leads"].keys() == {"1", "3"}
