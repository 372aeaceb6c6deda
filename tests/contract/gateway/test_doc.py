"""The examples of docs/gateway.md are answered, and its parameters are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kounter.gateway.collection import MOST_SKIPPED, OWN_PARAMETERS
from tables.view import FIND_S
from tests.support.gateway import application, client, local_reader

PAGE = (Path(__file__).parents[3] / "docs" / "gateway.md").read_text("utf-8")
EXAMPLES = re.findall(r"curl (?:-i )?(?:-H '[^']+' )?'http://127\.0\.0\.1:7070([^']+)'", PAGE)


@pytest.mark.parametrize("url", EXAMPLES)
async def test_an_example_is_answered(url: str, tmp_path: Path) -> None:
    with local_reader(tmp_path) as (reader, _):
        async with client(application(reader)) as http:
            answer = await http.get(url)
            assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("url", EXAMPLES)
def test_an_example_can_be_sent_as_it_stands(url: str) -> None:
    """curl sends the bytes of the command line, and a server refuses an address that is not ASCII."""
    assert url.isascii()


def test_the_page_names_all_parameters_and_bounds() -> None:
    named = set(re.findall(r"^\| `(\w+)[`=]", PAGE, re.MULTILINE))
    assert named >= OWN_PARAMETERS
    assert f"{MOST_SKIPPED:,}" in PAGE
    assert f"{FIND_S:.0f} s" in PAGE
