"""What readers get over HTTP: values, one thing as it was, the health, the documentation's pages."""

from __future__ import annotations

import re
from decimal import Decimal
from urllib.parse import quote

import httpx
import pytest

from kounter.gateway.resources import DomainHealth, Health
from schemas.errors import RegistryUnavailable
from tables.view import View
from tests.support.gateway import LAYOUTS, LocalReader, leads, put, state
from tests.support.gateway_answers import LEADS, check_problem

READY = Health(
    ready=True,
    view_behind=0,
    domains={
        "estate": DomainHealth(
            workers=1, assigned=True, recovered=True, progressing=True, lag_records=0, lag_seconds=0.0
        )
    },
)


async def test_live_while_it_answers_ready_when_all_is(
    parts: tuple[LocalReader, View], http: httpx.AsyncClient
) -> None:
    assert (await http.get("/api/health/live")).json() == {"live": True}
    unready = await http.get("/api/health/ready")
    assert (unready.status_code, unready.json()["ready"]) == (503, False)
    assert (await http.get("/api/health")).status_code == 200
    parts[0].found = READY
    ready = await http.get("/api/health/ready")
    assert (ready.status_code, ready.json()["domains"]["estate"]["workers"]) == (200, 1)


async def test_one(view: View, http: httpx.AsyncClient) -> None:
    put(view, "estate.lead", *leads(["l1"], fee=Decimal("9007199254740993.10"), state="ACTIVE", changed_at=1_000_000))
    assert (await http.get(f"{LEADS}/l1")).json() == {
        "ext_id": "l1",
        "version": 1,
        "changed_at": "1970-01-01T00:00:01Z",
        "fee": "9007199254740993.10",
        "state": "ACTIVE",
    }
    flat = state("estate.premise", "p1", photos=("a", "б"), is_sold=False, size=40.5)
    put(view, "estate.premise", flat)
    found = (await http.get("/api/estate/premises/p1")).json()
    assert (found["photos"], found["is_sold"], found["size"]) == (["a", "б"], False, 40.5)
    assert (await http.get("/api/estate/cities")).json() == {"items": []}


@pytest.mark.parametrize(
    "ext_id",
    ["a/b", "a//b", "/", "a%2Fb", "100%", "%", "a b", "a+b", "a?b#c", "«Ёж»", "🏠", "a\\b", "..;", "'\"", "l1/",
     "x" * 255],
)  # fmt: skip
async def test_any_ext_id_is_found(view: View, http: httpx.AsyncClient, ext_id: str) -> None:
    put(view, "estate.lead", *leads([ext_id, "other"]))
    answer = await http.get(f"{LEADS}/{quote(ext_id, safe='')}")
    assert answer.json()["ext_id"] == ext_id
    listed = await http.get(LEADS, params={"ext_id": ext_id})
    assert [row["ext_id"] for row in listed.json()["items"]] == [ext_id]


async def test_timeline(http: httpx.AsyncClient) -> None:
    (entry,) = (await http.get(f"{LEADS}/{quote('l/1', safe='')}/timeline")).json()
    assert (entry["verdict"], entry["changed"]) == ("applied", {"fee": [None, "1.00"]})
    check_problem(await http.get(f"{LEADS}/x/timeline"), 404, "not_found")


async def test_filters(view: View, http: httpx.AsyncClient) -> None:
    put(view, "estate.lead", *leads(["l1"], fee=Decimal("1.50"), lead_number=7, changed_at=5_000_000))
    put(view, "estate.premise", state("estate.premise", "p1", is_sold=True, size=1.5))
    for query in ("fee=1.5", "fee=1.50", "lead_number=7", "changed_at=1970-01-01T00:00:05Z", "ext_id=l1&lead_number=7"):
        assert len((await http.get(f"{LEADS}?{query}")).json()["items"]) == 1, query
    for query in ("fee=1.51", "lead_number=8", "state=FAILED", "client_ext_id=", "ext_id=l1'--"):
        assert (await http.get(f"{LEADS}?{query}")).json()["items"] == [], query
    for query in ("is_sold=true", "size=1.5"):
        assert len((await http.get(f"/api/estate/premises?{query}")).json()["items"]) == 1, query


async def test_one_thing_as_it_was(view: View, http: httpx.AsyncClient) -> None:
    """The history of `l1` begins at the epoch, with one record; the table has another state by now."""
    put(view, "estate.lead", *leads(["l1"], fee=Decimal("2.00"), changed_at=9))
    then = {"ext_id": "l1", "version": 1, "changed_at": "1970-01-01T00:00:00Z", "fee": "1.00"}
    for as_of in (
        "1970-01-01T00:00:00Z",
        "1970-01-01T03:00:00%2B03:00",
        "1970-01-01T03:00:00+03:00",
        "1970-01-02",
        "-1h",
    ):
        assert (await http.get(f"{LEADS}/l1?as_of={as_of}")).json() == then, as_of
        assert len((await http.get(f"{LEADS}/l1/timeline?as_of={as_of}")).json()) == 1
    assert (await http.get(f"{LEADS}/l1")).json()["fee"] == "2.00"
    for path in (f"{LEADS}/l1", f"{LEADS}/l1/timeline"):
        check_problem(await http.get(f"{path}?as_of=1969-12-31T23:59:59.999999"), 404, "not_found")
    check_problem(await http.get(f"{LEADS}/x?as_of=-1h"), 404, "not_found")


async def test_all_errors_have_one_form(parts: tuple[LocalReader, View], http: httpx.AsyncClient) -> None:
    reader = parts[0]
    check_problem(await http.get("/nowhere"), 404, "not_found")
    unknown = check_problem(await http.get(f"{LEADS}/" + "x" * 20_000), 404, "not_found")
    assert len(unknown["detail"]) < 200
    refused = await http.post(LEADS, json={})
    check_problem(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == "GET"
    reader.error = RegistryUnavailable("the registry is down")
    assert check_problem(await http.get("/api/health"), 503, "registry_unavailable")["hint"]
    reader.error = ValueError("postgres://user:secret@host")
    assert "secret" not in check_problem(await http.get("/api/health"), 500, "internal")["detail"]


async def test_personal_data_is_masked_unless_asked_for(
    view: View, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LAYOUTS["estate.lead"], "personal", frozenset({"client_ext_id"}))
    put(view, "estate.lead", *leads(["l1"], client_ext_id="+79991234567"))
    for path in (LEADS, f"{LEADS}/l1"):
        assert "+79991234567" not in (await http.get(path)).text
        assert "+79991234567" in (await http.get(path, params={"personal": "true"})).text


async def test_the_address_itself_leads_to_the_documentation(http: httpx.AsyncClient) -> None:
    answer = await http.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_the_documentation_needs_no_network(http: httpx.AsyncClient, page: str) -> None:
    html = (await http.get(page)).text
    assert not re.findall(r"""(?:src|href|url)\s*[=:]\s*["'](?:https?:)?//""", html)
    for path in re.findall(r"""(?:src|href)="(/[^"]+)""", html):
        assert (await http.get(path)).status_code == 200, path
