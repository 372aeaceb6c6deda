"""Pages over HTTP: links lead through all of them, and a cursor that is none of ours is refused."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import httpx
import pytest

from tables.view import View
from tests.support.gateway import leads, put
from tests.support.gateway_answers import LEADS, check_problem, walk


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
