"""Lists over HTTP: ranges, orders, text search, skip and count; and each wrong parameter by its name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from kounter.gateway.app import create_app
from kounter.gateway.reader import resources
from streams.domains import DOMAINS
from tables import view as module
from tests.support.gateway import application, client, local_reader, put, state
from tests.support.gateway_answers import check_problem, walk

PREMISES = "/api/estate/premises"
NAMES = ["Студия на Ёлочной", "ПАРКОВКА №5", "Oʻzbekiston ko‘chasi", "Ўзбекистон кўчаси", None]
FEATURES = ("sign_balcony", "вид, на парк", 'sign "x"')
PRICES = ["9999999.00", "34000000.00", "5.00", "120000.50", None]


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    with local_reader(tmp_path) as (reader, view):
        for city, project, building in (("c1", "j1", "b1"), ("c1", "j2", "b2"), ("c2", "j3", "b3")):
            put(view, "estate.city", state("estate.city", city))
            put(view, "estate.project", state("estate.project", project, city_ext_id=city))
            put(view, "estate.building", state("estate.building", building, project_ext_id=project))
        for n, (name, price) in enumerate(zip(NAMES, PRICES, strict=True)):
            fields = {"name": name, "price": price and Decimal(price), "size": n * 10.5, "status": "FREE"}
            fields |= {
                "building_ext_id": f"b{n}",
                "rooms": n,
                "year": 2024 + n,
                "features": FEATURES[:n],
                "is_sold": n < 2,
            }
            put(view, "estate.premise", state("estate.premise", f"p{n}", changed_at=n * 1_000_000, **fields))
        async with client(application(reader)) as http:
            yield http


async def ids(http: httpx.AsyncClient, query: str) -> list[str]:
    answer = await http.get(f"{PREMISES}?{query}")
    assert answer.status_code == 200, answer.text
    return [row["ext_id"] for row in answer.json()["items"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("price_from=120000.5&price_to=9999999", ["p0", "p3"]), ("price_from=10000000", ["p1"]), ("price_to=5", ["p2"]),
        ("price_from=5&price_to=5.00", ["p2"]), ("size_from=10.5&size_to=21", ["p1", "p2"]),
        ("changed_at_from=1970-01-01T00:00:03Z", ["p3", "p4"]), ("status=FREE&price_to=6", ["p2"]),
        ("order=price", ["p2", "p3", "p0", "p1"]), ("order=-price&price_from=6", ["p1", "p0", "p3"]),
        ("order=-size&limit=2", ["p4", "p3"]),
        ("project_ext_id=j2", ["p2"]), ("city_ext_id=c1", ["p1", "p2"]), ("city_ext_id=c1&project_ext_id=j3", []),
        ("city_ext_id=c1&order=-price&limit=1", ["p1"]), ("rooms=1,3", ["p1", "p3"]), ("rooms=4", ["p4"]),
        ("type=PARKING,STOREROOM", []), ("status=TAKEN,FREE&rooms=0,0,9", ["p0"]), ("is_sold=true", ["p0", "p1"]),
        ("feature=sign_balcony", ["p1", "p2", "p3", "p4"]), ('feature=sign_balcony,sign "x"', ["p3", "p4"]),
        ("feature=sign", []), ("feature=x", []), ("feature=на парк", []), ('feature=x"', []),
        ("year_from=2025&year_to=2026", ["p1", "p2"]), ("floor_from=-1", []),
        ("q=елочн", ["p0"]), ("q=ПАРКОВКА", ["p1"]), ("q=парк%205", ["p1"]), ("q=o'zbek", ["p2"]), ("q=Ozbek", ["p2"]),
        ("q=ЎЗБЕК", ["p3"]), ("q=кўча&order=-price", ["p3"]), ("q=сту&price_to=1", []),
        ("skip=3", ["p3", "p4"]), ("skip=1&limit=2&order=-ext_id", ["p3", "p2"]), ("skip=1000000", []),
    ],
)  # fmt: skip
async def test_what_is_found(http: httpx.AsyncClient, query: str, expected: list[str]) -> None:
    assert await ids(http, query) == expected


async def test_a_count_is_of_all_pages_and_only_where_it_is_asked_for(http: httpx.AsyncClient) -> None:
    for query, total in (("limit=2", 5), ("limit=2&skip=4", 5), ("limit=1&price_from=6", 3), ("q=no+such", 0)):
        assert (await http.get(f"{PREMISES}?count=true&{query}")).json()["total"] == total, query
    assert "total" not in (await http.get(f"{PREMISES}?limit=2")).json()


@pytest.mark.parametrize("order", ["price", "-price", "size", "-size", "floor"])
async def test_links_lead_through_all_pages_of_any_order(http: httpx.AsyncClient, order: str) -> None:
    whole = await ids(http, f"order={order}")
    assert await walk(http, f"{PREMISES}?order={order}&limit=1") == whole
    assert await walk(http, f"{PREMISES}?order={order}&limit=1&skip=2&count=true") == whole[2:]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("price_from=lots", "price_from: expected an amount"), ("price_to=", "price_to"), ("price_to=NaN", "price_to"),
        ("price_from=6&price_to=5", "price_from: expected no more than price_to"),
        ("changed_at_to=yesterday", "changed_at_to"), ("size_from=inf", "size_from"), ("floor_from=1.5", "floor_from"),
        ("size_from=2&size_to=1", "size_from"), ("price_form=1", "did you mean price_from?"),
        ("rooms_from=1", "rooms_from"), ("rooms=1,x", "rooms: expected a whole number"),
        ("rooms=", "rooms: expected up to"), ("rooms=1,,2", "rooms: expected up to 50 values"),
        ("status=FREE,SOLD", "status: expected one of UNKNOWN, FREE, TAKEN"),
        ("feature=,", "feature: expected up to"), ("features=a", "did you mean feature?"), ("city=1", "city"),
        ("rooms=" + ",".join(map(str, range(51))), "rooms: expected up to 50 values"), ("rooms=1&rooms=2", "rooms"),
        ("price_from=1&price_from=2", "price_from"), ("q=", "q: expected a word"), ("q=%20", "q: expected a word"),
        ("q=" + "x" * 201, "q: expected at most 200 characters"), ("q=a&q=b", "q: expected one value"),
        ("skip=-1", "skip"), ("skip=x", "skip"), ("skip=1000001", "skip"), ("count=maybe", "count"),
        ("count=", "count"),
        ("order=rooms", "order: expected one of ext_id, -ext_id, changed_at, -changed_at, price, -price"),
        ("skip=1&after=WyJleHRfaWQiLCJhIl0", "skip: expected 0 beside after"), ("total=1", "total"),
    ],
)  # fmt: skip
async def test_a_wrong_parameter_is_named(http: httpx.AsyncClient, query: str, named: str) -> None:
    assert named in check_problem(await http.get(f"{PREMISES}?{query}"), 422, "invalid_input")["detail"]


async def test_a_list_without_texts_has_no_search(http: httpx.AsyncClient) -> None:
    body = check_problem(await http.get("/api/estate/leads?q=x"), 422, "invalid_input")
    assert body["detail"].startswith("q: expected one of ")


async def test_a_list_that_takes_too_long_is_refused(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIND_S", -1.0)
    monkeypatch.setattr("tables.view_query.STEPS", 1)
    assert check_problem(await http.get(PREMISES), 422, "query_too_large")["hint"]


async def test_users_are_searched_skipped_and_counted(http: httpx.AsyncClient) -> None:
    for n, name in enumerate(("Иван Ёлкин", "Гулчеҳра ЎКТАМОВА", "Ivan")):
        user = {"full_name": name, "phone": f"+7700111223{n}", "stage": "NEW"}
        assert (await http.post("/users", json=user)).status_code == 201
    for query, found in (
        ("q=елкин", [1]), ("q=ўктамова", [2]), ("q=ГУЛЧЕҲРА", [2]), ("q=112230", [1]), ("q=ivan", [3]),
        ("skip=1&limit=1", [2]),
    ):  # fmt: skip
        answer = (await http.get(f"/users?{query}&count=true")).json()
        assert [user["id"] for user in answer["items"]] == found, query
        assert answer["total"] == (3 if "skip" in query else 1)
    for query in ("skip=1&after=WyJ1c2VyX2lkIiwxLCIxIl0", "q=", "price_from=1", "skip=-1"):
        named = query.partition("=")[0]
        assert check_problem(await http.get(f"/users?{query}"), 422, "invalid_input")["detail"].startswith(named)


def test_the_document_lists_what_a_list_takes() -> None:
    made = resources(list(DOMAINS.values()))
    document = create_app(made, Any).openapi()  # type: ignore[arg-type]
    listed = {p["name"]: p for p in document["paths"][PREMISES]["get"]["parameters"]}
    assert len(listed) == len(document["paths"][PREMISES]["get"]["parameters"])
    assert {"price_from", "price_to", "changed_at_from", "q", "skip", "limit", "count", "after", "order"} <= set(listed)
    assert listed["price_from"]["schema"] == listed["price"]["schema"]
    assert listed["price_from"]["description"] == "The least price, included"
    assert listed["q"]["description"].endswith("one of: name")
    numbers = listed["rooms"]
    assert (numbers["style"], numbers["explode"], numbers["schema"]["type"]) == ("form", False, "array")
    assert numbers["schema"]["items"]["type"] == "integer"
    assert listed["status"]["schema"]["items"]["enum"] == ["UNKNOWN", "FREE", "TAKEN"]
    assert listed["feature"]["description"] == "Values, separated by commas, that all are in features"
    assert listed["city_ext_id"]["schema"] == {"type": "string"}
    assert listed["city_ext_id"]["description"] == "The field of the project that it belongs to"
    assert listed["is_sold"]["schema"] == {"type": "boolean"}
    assert "-price" in listed["order"]["schema"]["enum"]
    assert "total" in document["components"]["schemas"]["PremiseList"]["properties"]
    assert "q" not in {p["name"] for p in document["paths"]["/api/estate/leads"]["get"]["parameters"]}
