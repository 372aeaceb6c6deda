"""Parameters over HTTP: each wrong or unknown one is refused by its name."""

from __future__ import annotations

import httpx
import pytest

from tables.view import View
from tests.support.gateway import leads, put
from tests.support.gateway_answers import LEADS, check_problem


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


@pytest.mark.parametrize(
    "as_of", ["", "yesterday", "offset:10", "9999-01-01", "2026-13-01", "0", "1e9", "-1", "2026-01-01&as_of=2026-01-02"]
)
async def test_a_time_that_is_none_is_told(http: httpx.AsyncClient, as_of: str) -> None:
    for path in (f"{LEADS}/l1", f"{LEADS}/l1/timeline"):
        assert "as_of" in check_problem(await http.get(f"{path}?as_of={as_of}"), 422, "invalid_input")["detail"]


@pytest.mark.parametrize("size", ["nan", "inf", "-Infinity", "1e999", ""])
async def test_a_number_that_is_none_is_told(http: httpx.AsyncClient, size: str) -> None:
    assert "size" in check_problem(await http.get(f"/api/estate/premises?size={size}"), 422, "invalid_input")["detail"]


async def test_size_of_a_query_is_limited(http: httpx.AsyncClient) -> None:
    body = check_problem(await http.get(LEADS, params={"state": "x" * 9_000}), 422, "invalid_input")
    assert "at most 8192 bytes" in body["detail"]
