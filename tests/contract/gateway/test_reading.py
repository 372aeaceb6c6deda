"""What readers get over HTTP: values, pages, errors of one form, and nothing without the token."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from pydantic import SecretStr

from kounter.gateway.app import create_app
from kounter.gateway.reader import resources
from kounter.gateway.resources import DomainHealth, Health, encode_cursor
from kounter.gateway.settings import GatewaySettings, check_exposure
from schemas.errors import BrokenSetup, RegistryUnavailable
from streams.domains import DOMAINS
from streams.domains.crm import CRM
from streams.domains.estate import ESTATE
from tables.view import View
from tests.support.gateway import LAYOUTS, LocalReader, application, client, leads, local_reader, put, state

LEADS = "/api/estate/leads"


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[tuple[LocalReader, View]]:
    with local_reader(tmp_path) as parts:
        yield parts


@pytest.fixture
def view(parts: tuple[LocalReader, View]) -> View:
    return parts[1]


@pytest.fixture
async def http(parts: tuple[LocalReader, View]) -> AsyncIterator[httpx.AsyncClient]:
    async with client(application(parts[0])) as http:
        yield http


def check_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Of RFC 9457."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code), body
    assert body["type"] == "about:blank"
    assert body["title"]
    assert 0 < len(body["detail"]) < 2_000
    return body


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


async def walk(http: httpx.AsyncClient, url: str) -> list[str]:
    """By the Link headers, as a client that knows nothing of cursors."""
    found: list[str] = []
    while url:
        answer = await http.get(url)
        assert answer.status_code == 200, answer.text
        found += [row["ext_id"] for row in answer.json()["items"]]
        assert ("next" in answer.links) == (answer.json().get("next") is not None)
        url = answer.links.get("next", {}).get("url", "")
    return found


@pytest.mark.parametrize("order", ["ext_id", "-ext_id", "changed_at", "-changed_at"])
async def test_links_lead_through_all_pages(view: View, http: httpx.AsyncClient, order: str) -> None:
    ids = ["a/b", "b c&d=e", 'c<>;"', "z", "ёж", "🏠"]
    put(view, "estate.lead", *leads(ids, client_ext_id="A&B=C"), *leads(["other"]))
    found = await walk(http, f"{LEADS}?limit=2&order={order}&client_ext_id=A%26B%3DC")
    assert found == (ids[::-1] if order.startswith("-") else ids)


CURSORS = ["x", "!", "é", "=" * 8, "bnVsbA", "W10", "WzEsMl0", "e30", "A" * 2_001, "WzEs" * 500]


PLACES: list[list[Any]] = [
    [math.nan, "a"],
    [None, "a"],
    [2**63, "a"],
    ["\ud800", "a"],
    [["a"], "a"],
    ["a"],
    ["a", "a", "a"],
]


def cursor_of(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


@pytest.mark.parametrize("cursor", [*CURSORS, *(cursor_of("changed_at", *place) for place in PLACES)])
async def test_a_cursor_that_is_none_of_ours_is_refused(http: httpx.AsyncClient, cursor: str) -> None:
    answer = await http.get(LEADS, params={"after": cursor, "order": "changed_at"})
    assert "after" in check_problem(answer, 422, "invalid_input")["detail"]


async def test_a_cursor_of_the_version_before_goes_on(view: View, http: httpx.AsyncClient) -> None:
    """It said the key twice."""
    put(view, "estate.lead", *leads(["l1", "l2"]))
    answer = await http.get(LEADS, params={"after": cursor_of("ext_id", "l1", "l1")})
    assert [row["ext_id"] for row in answer.json()["items"]] == ["l2"]


@pytest.mark.parametrize("order", ["ext_id", "-changed_at"])
async def test_a_key_of_any_length_and_letters_leads_on(view: View, http: httpx.AsyncClient, order: str) -> None:
    """The cursor of a key of 130 Cyrillic letters was longer than a cursor may be: the list ended there."""
    ids = ["🏠" * 255, "ё" * 254, "a" * 253]
    put(view, "estate.lead", *leads(ids))
    assert sorted(await walk(http, f"{LEADS}?limit=1&order={order}")) == sorted(ids)


async def test_a_cursor_of_another_order_is_refused(view: View, http: httpx.AsyncClient) -> None:
    put(view, "estate.lead", *leads(["l1", "l2"]))
    cursor = (await http.get(LEADS, params={"limit": 1})).json()["next"]
    body = check_problem(await http.get(LEADS, params={"after": cursor, "order": "changed_at"}), 422, "invalid_input")
    assert "order changed_at" in body["detail"]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("limit=0", "limit"), ("limit=501", "limit"), ("limit=x", "limit"), ("limit=" + "9" * 5_000, "limit"),
        ("order=fee", "order"), ("order=ext_id;DROP", "order"), ("order=" + "a" * 65, "order"),
        ("personal=maybe", "personal"),
        ("limit=1&limit=2", "limit"), ("after=", "after"), ("personal=", "personal"), ("order=", "order"),
        ("as_of=2026-01-01", "as_of"), ("Limit=1", "did you mean limit?"), ("stat=OPEN", "did you mean stat"),
        ("state=OPEN", "ACTIVE, IN_PROGRESS, FAILED, COMPLETE"), ("status=SOLD", "BOOKED, REQUEST_FOR_CONTRACT"),
        ("state=active", "ACTIVE"), ("state=", "ACTIVE"), ("bitrix_outcome=no", "SUCCESS"),
        ("colour=red", "colour"), ("%22=1", '"'), ("rest=1", "rest"), ("", ""),
        ("lead_number=x", "lead_number"), ("lead_number=9223372036854775808", "lead_number"), ("fee=lots", "fee"),
        ("fee=NaN", "fee"), ("fee=1e999999999", "fee"), ("changed_at=yesterday", "changed_at"), ("fee=1&fee=2", "fee"),
    ],
)  # fmt: skip
async def test_a_wrong_parameter_is_named(http: httpx.AsyncClient, query: str, named: str) -> None:
    answer = await http.get(f"{LEADS}?{query}")
    if not query:
        assert answer.status_code == 200
        return
    assert named in check_problem(answer, 422, "invalid_input")["detail"]


EVERYWHERE = [
    "/api/health", "/api/health/live", "/api/health/ready", f"{LEADS}/l1", f"{LEADS}/l1/timeline", LEADS, "/users",
    "/users/1",
]  # fmt: skip


@pytest.mark.parametrize("path", EVERYWHERE)
async def test_an_unknown_parameter_is_refused_everywhere(view: View, http: httpx.AsyncClient, path: str) -> None:
    """Of one thing and its timeline it was passed over: `as_of` gave today's state."""
    put(view, "estate.lead", *leads(["l1"]))
    for query in ("asof=2020-01-01", "Personal=true", "x", "x="):
        body = check_problem(await http.get(f"{path}?{query}"), 422, "invalid_input")
        assert body["detail"].startswith(query.partition("=")[0])
    told = check_problem(await http.get(f"{path}?{'x' * 3_000}=1"), 422, "invalid_input")
    assert len(told["detail"]) < 1_000


async def test_writes_take_no_unknown_parameter_either(http: httpx.AsyncClient) -> None:
    user = {"full_name": "A", "phone": "+77001112233", "stage": "NEW"}
    check_problem(await http.post("/users?dry_run=true", json=user), 422, "invalid_input")
    assert (await http.get("/users")).json() == {"items": []}
    assert (await http.post("/users", json=user)).status_code == 201
    check_problem(await http.patch("/users/1?x=1", json={"full_name": "B"}), 422, "invalid_input")
    check_problem(await http.post("/users/1/move?x=1", json={"stage": "CONVERTED"}), 422, "invalid_input")
    assert (await http.get("/users/1")).json()["full_name"] == "A"


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


@pytest.mark.parametrize(
    "as_of", ["", "yesterday", "offset:10", "9999-01-01", "2026-13-01", "0", "1e9", "-1", "2026-01-01&as_of=2026-01-02"]
)
async def test_a_time_that_is_none_is_told(http: httpx.AsyncClient, as_of: str) -> None:
    for path in (f"{LEADS}/l1", f"{LEADS}/l1/timeline"):
        assert "as_of" in check_problem(await http.get(f"{path}?as_of={as_of}"), 422, "invalid_input")["detail"]


def test_the_document_calls_things_by_their_names() -> None:
    """A lead was a CardChanged, a user a UserCreated: so generated clients called them."""
    document = create_app(resources(list(DOMAINS.values())), Any, users=Any).openapi()  # type: ignore[arg-type]
    schemas, paths = document["components"]["schemas"], document["paths"]
    for path, name, said in (
        ("/api/estate/leads", "Lead", "A purchase case"),
        ("/api/estate/premises", "Premise", "A flat, storeroom"),
        ("/api/crm/users", "User", "A user of the Core service"),
        ("/api/crm/core-users", "CoreUser", "A user of an outside Core service"),
        ("/api/crm/requests", "Request", ""),
        ("/api/domofon/sign-ups", "SignUp", "Somebody wants to be connected"),
    ):
        answer = paths[path + "/{ext_id}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert answer == {"$ref": f"#/components/schemas/{name}"}
        assert schemas[name]["description"].startswith(said)
        listed = paths[path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert listed == {"$ref": f"#/components/schemas/{name}List"}
    assert not {"CardChanged", "UserCreated", "CardAsked", "RequestBegun", "UserNumbered"} & set(schemas)
    assert not [name for name in schemas if "__" in name]


def test_the_document_is_typed() -> None:
    document = create_app(resources([ESTATE]), Any, users=Any).openapi()  # type: ignore[arg-type]
    parameters = {p["name"]: p["schema"] for p in document["paths"][LEADS]["get"]["parameters"]}
    assert parameters["state"]["enum"] == ["UNKNOWN", "ACTIVE", "IN_PROGRESS", "FAILED", "COMPLETE"]
    assert parameters["order"]["enum"] == ["ext_id", "-ext_id", "changed_at", "-changed_at"]
    assert parameters["lead_number"]["type"] == "integer"
    assert parameters["changed_at"]["format"] == "date-time"
    assert re.fullmatch(parameters["after"]["pattern"], encode_cursor("ext_id", ["ё", "a/b"]))
    assert parameters["fee"]["pattern"]
    lead = document["components"]["schemas"]["Lead"]
    assert lead["properties"]["state"]["enum"] == parameters["state"]["enum"]
    assert lead["required"] == ["ext_id", "version", "changed_at"]
    assert "null" not in json.dumps([lead, document["components"]["schemas"]["KnownUser"]])
    assert document["components"]["schemas"]["NewUser"]["required"] == ["full_name", "phone", "stage"]
    assert "null" not in json.dumps(document["components"]["schemas"]["NewUser"])


def test_operations_have_names_that_last() -> None:
    document = create_app(resources([ESTATE, CRM]), Any, users=Any).openapi()  # type: ignore[arg-type]
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))
    assert {
        "health", "health_live", "health_ready", "create_user", "change_user", "move_user", "get_user", "list_users",
        "list_estate_leads", "get_estate_lead", "get_estate_lead_timeline", "list_estate_cities", "list_crm_core_users",
    } <= set(ids)  # fmt: skip


@pytest.mark.parametrize("size", ["nan", "inf", "-Infinity", "1e999", ""])
async def test_a_number_that_is_none_is_told(http: httpx.AsyncClient, size: str) -> None:
    assert "size" in check_problem(await http.get(f"/api/estate/premises?size={size}"), 422, "invalid_input")["detail"]


async def test_size_of_a_query_is_limited(http: httpx.AsyncClient) -> None:
    body = check_problem(await http.get(LEADS, params={"state": "x" * 9_000}), 422, "invalid_input")
    assert "at most 8192 bytes" in body["detail"]


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


async def test_without_a_token_only_names_of_this_machine_are_answered(parts: tuple[LocalReader, View]) -> None:
    app = application(parts[0])
    for host, status in (("127.0.0.1", 200), ("localhost:7070", 200), ("[::1]:7070", 200), ("evil.example", 400)):
        async with client(app) as http:
            assert (await http.get(LEADS, headers={"Host": host})).status_code == status, host


OPEN = ["0.0.0.0:7070", "[::]:7070", "192.168.1.5:80", "kounter.example:80", "[::ffff:1.2.3.4]:80"]
SENSELESS = ["", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:²", "127.0.0.1:65536", "127.0.0.1:-1"]


@pytest.mark.parametrize("address", OPEN)
def test_beyond_loopback_a_token_is_needed(address: str) -> None:
    with pytest.raises(BrokenSetup, match="without authentication"):
        check_exposure(GatewaySettings(listen=("127.0.0.1:1", address)))
    check_exposure(GatewaySettings(listen=(address,), token=SecretStr("t")))


@pytest.mark.parametrize("address", ["127.0.0.1:7070", "localhost:0", "[::1]:7070", "::1:7070", "127.9.9.9:1"])
def test_loopback_needs_none(address: str) -> None:
    check_exposure(GatewaySettings(listen=(address,)))


@pytest.mark.parametrize("address", SENSELESS)
def test_an_address_that_makes_no_sense_is_told(address: str) -> None:
    with pytest.raises(BrokenSetup, match="is not host:port"):
        check_exposure(GatewaySettings(listen=(address,)))


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
