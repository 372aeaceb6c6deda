"""Lists of one type's objects in JSON."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from adapters.feeds.comparison import Known
from adapters.feeds.errors import BrokenFeed
from adapters.feeds.parse.content import Content
from adapters.feeds.parse.pages import MOST_BYTES, read_page, type_in
from adapters.feeds.plan import make_plan
from adapters.feeds.settings import FeedFile
from schemas.estate import Premise, Project

PROJECT = {"ext_id": 12, "name": "Дом у реки", "city_ext_id": "1", "update_id": 7, "photo": None, "unknown": 1}


def rows(document: Any, hint: str = "", **feed: Any) -> tuple[list[Any], Any]:
    content = Content(io.BytesIO(json.dumps(document).encode()), (), hint)
    with make_plan(content, FeedFile(name="x", url="x", **feed), Known()) as made:  # type: ignore[arg-type]
        return [d.row for d in made.differences(1)], made.counts


@pytest.mark.parametrize(
    "document",
    [
        {"data": {"type": "project", "data": [PROJECT], "next": None}, "error": None},
        {"type": "project", "data": [PROJECT]},
    ],
)
def test_a_list_of_one_type(document: Any) -> None:
    found, counts = rows({**document})
    assert found == [Project("12", name="Дом у реки", city_ext_id="1")]
    assert (counts.offers, counts.new) == (1, 1)


def test_a_bare_list_whose_address_names_the_type() -> None:
    found, _ = rows([PROJECT], hint="project", id_prefix="ekb:")
    assert found == [Project("ekb:12", name="Дом у реки", city_ext_id="ekb:1")]


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("https://feed.example/api/v1/projects?page=2", "project"),
        ("https://feed.example/cities/", "city"),
        ("/data/premise.json", "premise"),
        ("https://feed.example/api", ""),
    ],
)
def test_the_type_in_an_address(address: str, word: str) -> None:
    assert type_in(address) == word


def test_an_object_that_can_not_be_used_is_refused_alone() -> None:
    objects = [{"ext_id": "1\ud800", "price": 1}, {"ext_id": "2", "price": 5.5}, "text", {"name": "x"}]
    found, counts = rows({"type": "premise", "data": objects})
    assert [row.ext_id for row in found] == ["2"]
    assert (counts.offers, counts.refused, counts.missing_ids) == (4, 1, 2)
    assert (counts.examples[0]["ext_id"], counts.examples[0]["field"]) == ("1\\ud800", "ext_id")
    assert isinstance(found[0], Premise)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"{", "JSON"),
        (b'{"data": NaN}', "JSON, which has no such number"),
        (b"[" * 500 + b"]" * 500, "at most 32 levels"),
        (b'"\xff"', "UTF-8"),
        (b'{"data": {}, "error": null}', "a list of objects"),
        (b'{"type": "lead", "data": []}', "one of city, project, building, section, premise"),
        (b'{"type": "city", "data": [], "next": 2}', "an address or null"),
        (b'{"data": null, "error": {"id": 400}}', "null"),
        (b"[" + b" " * MOST_BYTES + b"]", f"at most {MOST_BYTES} bytes"),
    ],
)
def test_a_page_that_is_no_list_is_refused_whole(raw: bytes, expected: str) -> None:
    with pytest.raises(BrokenFeed) as error:
        read_page(raw, "")
    assert error.value.expected.startswith(expected)
