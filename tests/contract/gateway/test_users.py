"""The users service over HTTP, without Kafka: shapes, pages, and what a body may not be."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.gateway import USERS, application, client, local_reader, put
from tests.support.gateway_answers import check_problem

IVAN = {"full_name": "Иван Иванов", "phone": "+77001112233", "stage": "NEW"}
JSON = {"content-type": "application/json"}


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    with local_reader(tmp_path) as (reader, _):
        async with client(application(reader)) as http:
            yield http


async def test_the_seeds_requests(http: httpx.AsyncClient) -> None:
    created = await http.post("/users", json=IVAN)
    assert (created.status_code, created.json()) == (201, {"id": 1, **IVAN})
    changed = await http.patch("/users/1", json={**IVAN, "stage": "IN_PROCESS"})
    assert (changed.status_code, changed.json()) == (200, {"id": 1, **IVAN, "stage": "IN_PROCESS"})
    moved = await http.post("/users/1/move", json={"stage": "CONVERTED"})
    assert moved.json()["stage"] == "CONVERTED"
    body = check_problem(await http.post("/users", json={"full_name": "x", "stage": "NEW"}), 422, "missing_phone")
    assert body["detail"] == "Missing phone number"


async def test_pages_are_in_the_order_of_ids(http: httpx.AsyncClient) -> None:
    for _ in range(12):
        await http.post("/users", json=IVAN)
    found: list[int] = []
    after = None
    while True:
        page = (await http.get("/users", params={"limit": 5, **({"after": after} if after else {})})).json()
        found += [user["id"] for user in page["items"]]
        if (after := page.get("next")) is None:
            break
    assert found == list(range(1, 13))
    assert len((await http.get("/users", params={"phone": IVAN["phone"], "stage": "NEW"})).json()["items"]) == 12
    assert (await http.get("/users", params={"stage": "JUNK"})).json()["items"] == []


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({**IVAN, "age": 5}, "age"),
        ({**IVAN, "id": 5}, "id"),
        ({**IVAN, "full_name": 7}, "full_name"),
        ({**IVAN, "full_name": ["x"]}, "full_name"),
        ({**IVAN, "full_name": "x" * 1_001}, "full_name"),
        ({**IVAN, "full_name": "\ud800"}, "full_name"),
        ({**IVAN, "stage": "\udfff"}, "stage"),
        ({**IVAN, "phone": "\ud800"}, "phone"),
        ({**IVAN, "full_name": "a\x00b"}, "full_name"),
        ({**IVAN, "k" * 60_000: 1}, "k" * 200 + "…"),
        ({**IVAN, "\ud800": 1}, "body"),
        ([], "body"),
        (None, "body"),
        ("x", "body"),
    ],
)
async def test_a_wrong_field_is_named(http: httpx.AsyncClient, value: Any, named: str) -> None:
    for method, path in (("POST", "/users"), ("PATCH", "/users/1")):
        if path.endswith("1"):
            await http.post("/users", json=IVAN)
        answer = await http.request(method, path, content=json.dumps(value), headers=JSON)
        assert answer.status_code == 422, answer.text
        assert named in answer.json()["detail"]
        assert len(answer.text) < 1_000


@pytest.mark.parametrize(
    "content",
    [b'{"full_name": "a", "phone": "+77001112233", "stage": "NEW", "phone": "+77001112244"}',
     b'{"phone": 1, "\\u0070hone": 2}', b'[{"x": [{"phone": 1, "phone": 1}]}]'],
)  # fmt: skip
async def test_a_name_that_stands_twice_is_told(http: httpx.AsyncClient, content: bytes) -> None:
    body = check_problem(await http.post("/users", content=content, headers=JSON), 422, "invalid_input")
    assert body["detail"] == "'phone': expected once, came 'twice'"
    assert (await http.get("/users")).json()["items"] == []


@pytest.mark.parametrize(
    ("content", "headers", "statuses"),
    [
        (b"", JSON, {422}),
        (b"{", JSON, {400, 422}),
        (b"[" * 60_000, JSON, {400, 422}),
        (b'{"a":' * 12_000 + b"1" + b"}" * 12_000, JSON, {400, 413, 422}),
        (b"x" * 70_000, JSON, {413}),
        (json.dumps(IVAN).encode("utf-16"), JSON, {400, 422}),
        (json.dumps(IVAN, ensure_ascii=False).encode("cp1251"), JSON, {400, 422}),
        (b'{"full_name": NaN}', JSON, {400, 422}),
        (json.dumps(IVAN).encode(), {"content-type": "text/plain"}, {415, 422}),
        (json.dumps(IVAN).encode(), {}, {415, 422}),
        (b"full_name=x", {"content-type": "application/x-www-form-urlencoded"}, {415, 422}),
    ],
)
async def test_a_body_that_is_none_is_refused(
    http: httpx.AsyncClient, content: bytes, headers: dict[str, str], statuses: set[int]
) -> None:
    answer = await http.post("/users", content=content, headers=headers)
    assert answer.status_code in statuses, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_where_a_body_is_no_json_is_told(http: httpx.AsyncClient) -> None:
    answer = await http.post("/users", content=b'{"full_name": "a" "b"}', headers=JSON)
    check_problem(answer, 422, "invalid_input")
    assert answer.json()["detail"].startswith("the body is no JSON: ")
    assert answer.json()["detail"].endswith(" (character 18)")


async def test_a_user_without_a_name_does_not_take_the_list_from_all(tmp_path: Path) -> None:
    """Others may write to the topic of the users, too."""
    with local_reader(tmp_path) as (reader, view):
        async with client(application(reader)) as http:
            await http.post("/users", json=IVAN)
            put(view, "crm.user", USERS["crm.user"].blank("7")._replace(version=1, user_id=7, changed_at=2**62))
            assert [user["id"] for user in (await http.get("/users")).json()["items"]] == [1, 7]
            assert (await http.get("/users/7")).json()["full_name"] == ""


@pytest.mark.parametrize("query", ["phnoe=x", "personal=true", "stage=a&stage=b", "%00=", "&".join(["x=1"] * 6_000)])
async def test_a_filter_that_is_none_does_not_give_everybody(http: httpx.AsyncClient, query: str) -> None:
    await http.post("/users", json=IVAN)
    check_problem(await http.get(f"/users?{query}"), 422, "invalid_input")


@pytest.mark.parametrize("id", ["0", "-1", "x", "1.0", "9223372036854775808", "²", "%00"])
async def test_an_id_that_is_none(http: httpx.AsyncClient, id: str) -> None:
    for answer in (
        await http.get(f"/users/{id}"),
        await http.patch(f"/users/{id}", json=IVAN),
        await http.post(f"/users/{id}/move", json={"stage": "NEW"}),
    ):
        assert answer.status_code in (404, 422), answer.text


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "ключ"])
async def test_a_key_that_is_none(http: httpx.AsyncClient, key: str) -> None:
    answer = await http.post("/users", json=IVAN, headers=[(b"idempotency-key", key.encode())])
    check_problem(answer, 422, "invalid_input")


async def test_nobody_is_404(http: httpx.AsyncClient) -> None:
    check_problem(await http.get("/users/1"), 404, "not_found")
    check_problem(await http.patch("/users/1", json={"stage": "NEW"}), 404, "not_found")
    check_problem(await http.delete("/users/1"), 405, "method_not_allowed")


async def test_without_the_token_nothing_is_done(tmp_path: Path) -> None:
    with local_reader(tmp_path) as (reader, _):
        async with client(application(reader, "token")) as http:
            for method, path in (("POST", "/users"), ("PATCH", "/users/1"), ("POST", "/users/1/move"),
                                 ("GET", "/users"), ("GET", "/users/1")):  # fmt: skip
                check_problem(await http.request(method, path, json=IVAN), 401, "unauthorized")
            allowed = await http.post("/users", json=IVAN, headers={"Authorization": "Bearer token"})
            assert allowed.status_code == 201


@pytest.mark.parametrize("kind", [None, "text/plain", "application/json"])
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_another_sites_page_writes_nothing(http: httpx.AsyncClient, site: str, kind: str | None) -> None:
    """A browser sends a body without a content type, or as text, to any origin without asking first."""
    await http.post("/users", json=IVAN)
    page = {"Origin": "https://evil.example", "Sec-Fetch-Site": site} | ({"Content-Type": kind} if kind else {})
    for method, path in (("POST", "/users"), ("PATCH", "/users/1"), ("POST", "/users/1/move")):
        answer = await http.request(method, path, content=json.dumps({**IVAN, "stage": "JUNK"}), headers=page)
        assert answer.status_code == 403, (method, path)
    assert [user["stage"] for user in (await http.get("/users")).json()["items"]] == ["NEW"]


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "same-origin"}])
async def test_programs_and_our_own_documentation_write(http: httpx.AsyncClient, headers: dict[str, str]) -> None:
    assert (await http.post("/users", json=IVAN, headers=headers)).status_code == 201
    assert (await http.patch("/users/1", json={"stage": "JUNK"}, headers=headers)).status_code == 200


async def test_a_link_to_the_documentation_may_be_anywhere(http: httpx.AsyncClient) -> None:
    for path in ("/", "/docs"):
        answer = await http.get(path, headers={"Sec-Fetch-Site": "cross-site"}, follow_redirects=True)
        assert answer.status_code == 200, path


@pytest.mark.parametrize("value", [7, ["A"], {"a": 1}, "x" * 2_000])
async def test_a_wrong_field_is_named_and_nothing_else(http: httpx.AsyncClient, value: Any) -> None:
    for send in (http.post, http.patch):
        answer = await send("/users" if send == http.post else "/users/1", json={"full_name": value})
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("full_name: ")
    for query in ("after=!", "after=", f"stage={'x' * 300}"):
        detail = (await http.get(f"/users?{query}")).json()["detail"]
        assert detail.startswith(query.partition("=")[0] + ": ")
