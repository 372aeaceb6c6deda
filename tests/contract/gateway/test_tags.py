"""ETags over HTTP: 304 while an answer would be the same, another tag after any change that it depends on."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tables.view import Change, View
from tests.support.gateway import application, client, leads, local_reader, put, state
from tests.support.gateway_answers import LEADS, check_problem

PREMISES = "/api/estate/premises"


async def tag_of(http: httpx.AsyncClient, url: str) -> str:
    answer = await http.get(url)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "private, no-cache"
    return str(answer.headers["etag"])


async def status_of(http: httpx.AsyncClient, url: str, tag: str) -> int:
    answer = await http.get(url, headers={"If-None-Match": tag})
    if answer.status_code == 304:
        assert answer.content == b""
        assert answer.headers["etag"]
    return answer.status_code


async def test_a_list_is_not_sent_again_until_one_of_its_things_changes(view: View, http: httpx.AsyncClient) -> None:
    put(view, "estate.lead", *leads(["l1"]))
    for url in (LEADS, f"{LEADS}?limit=1&order=-changed_at&count=true", f"{LEADS}?state=ACTIVE"):
        tag = await tag_of(http, url)
        assert tag.startswith('"')
        for said in (tag, f'"x", W/{tag}', "*", f"W/{tag}"):
            assert await status_of(http, url, said) == 304, said
        for said in ('"x"', tag.strip('"'), "", "W/"):
            assert await status_of(http, url, said) == 200, said
    put(view, "estate.premise", state("estate.premise", "p1"))
    assert await status_of(http, LEADS, tag) == 304
    put(view, "estate.lead", *leads(["l1"]))
    assert await status_of(http, LEADS, tag) == 304, "the same state again is no change"
    put(view, "estate.lead", *leads(["l1"], changed_at=2))
    assert await status_of(http, LEADS, tag) == 200
    again = await tag_of(http, LEADS)
    view.apply([], {("log", 0): 5})
    assert await status_of(http, LEADS, again) == 304


async def test_a_deletion_is_a_change(view: View, http: httpx.AsyncClient) -> None:
    put(view, "estate.lead", *leads(["l1"]))
    tag = await tag_of(http, LEADS)
    view.apply([Change("estate.lead", "l1", None)], {})
    assert await status_of(http, LEADS, tag) == 200


async def test_a_list_by_a_parents_field_changes_with_the_parents(view: View, http: httpx.AsyncClient) -> None:
    put(view, "estate.premise", state("estate.premise", "p1", building_ext_id="b1"))
    by_city, plain = f"{PREMISES}?city_ext_id=c1", PREMISES
    for topic, row in (
        ("estate.building", state("estate.building", "b1", project_ext_id="j1")),
        ("estate.project", state("estate.project", "j1", city_ext_id="c1")),
    ):
        tag, other = await tag_of(http, by_city), await tag_of(http, plain)
        put(view, topic, row)
        assert await status_of(http, by_city, tag) == 200, topic
        assert await status_of(http, plain, other) == 304, "it does not depend on them"
    assert len((await http.get(by_city)).json()["items"]) == 1


async def test_one_thing_has_a_tag_by_its_version(view: View, http: httpx.AsyncClient) -> None:
    url = f"{PREMISES}/p1"
    first = state("estate.premise", "p1", name="A")
    put(view, "estate.premise", first)
    tag = await tag_of(http, url)
    put(view, "estate.premise", state("estate.premise", "p2"))
    assert await status_of(http, url, tag) == 304
    put(view, "estate.premise", first._replace(version=2, name="B"))
    assert await status_of(http, url, tag) == 200
    put(view, "estate.premise", first._replace(changed_at=9))
    assert await status_of(http, url, tag) == 200, "it was deleted and came again"
    check_problem(await http.get(f"{PREMISES}/x", headers={"If-None-Match": "*"}), 404, "not_found")


async def test_one_thing_as_it_was_has_the_tag_of_that_time(http: httpx.AsyncClient) -> None:
    url = f"{LEADS}/l1?as_of=-1h"
    assert await status_of(http, url, await tag_of(http, url)) == 304


@pytest.mark.parametrize("query", ["q=", "price_from=x", "order=x", "city=1", "after=x", "skip=-1"])
async def test_a_wrong_parameter_is_refused_whatever_the_caller_has(http: httpx.AsyncClient, query: str) -> None:
    answer = await http.get(f"{PREMISES}?{query}", headers={"If-None-Match": "*"})
    assert query.partition("=")[0] in check_problem(answer, 422, "invalid_input")["detail"]


async def test_a_view_that_was_built_again_has_other_tags(tmp_path: Path) -> None:
    """Its count of changes begins again: the same number would stand for other rows."""
    tags = []
    for folder in ("a", "b"):
        with local_reader(tmp_path / folder) as (reader, view):
            async with client(application(reader)) as http:
                put(view, "estate.lead", *leads(["l1"]))
                tags.append(await tag_of(http, LEADS))
                view.reset()
                put(view, "estate.lead", *leads(["l2"]))
                tags.append(await tag_of(http, LEADS))
    assert len(set(tags)) == 4
    with local_reader(tmp_path / "b") as (reader, view):
        async with client(application(reader)) as http:
            assert await tag_of(http, LEADS) == tags[-1], "a restart keeps them"
