"""The example of a socket.io-client in the pages runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.backend import KEY, Served, served
from tests.support.systems.node import Node

pytestmark = [
    pytest.mark.usefixtures("forgotten_connections"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]
PAGES = sorted((Path(__file__).parents[3] / "docs").glob("*.md"))
ADDRESS = "127.0.0.1:7172"
CODE = [
    pytest.param(code, id=page.name)
    for page in PAGES
    for code in re.findall(r"```js\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    if 'require("socket.io-client")' in code
]


@pytest.fixture(params=CODE)
def code(request: pytest.FixtureRequest) -> str:
    code: str = request.param
    return code


def at(server: Served, code: str) -> str:
    assert ADDRESS in code
    return code.replace(ADDRESS, f"127.0.0.1:{server.port}")


def test_there_is_one_of_at_most_20_lines() -> None:
    assert [len(str(one.values[0]).splitlines()) <= 20 for one in CODE] == [True]


async def test_it_saves_each_change_once_and_goes_on_behind_its_number(node: Node, tmp_path: Path, code: str) -> None:
    async with served(tmp_path, count=40) as server:
        await node.ask("runExample", code=at(server, code), key=KEY, after=10)
        try:
            await node.ask_until(lambda found: len(found["saved"]) == 30, "stateOfExample")
            await node.ask("cutExample")
            server.append(20, '{"ext_id": "c-1", "name": "Тюмень"}')
            found = await node.ask_until(lambda found: len(found["saved"]) >= 50, "stateOfExample")
        finally:
            await node.ask("endExample")
    saved: list[Any] = found["saved"]
    assert [number for _, _, number in saved] == list(range(11, 61))
    assert saved[-1] == ["city", {"ext_id": "c-1", "name": "Тюмень"}, 60]


async def test_it_says_why_it_is_refused(node: Node, tmp_path: Path, code: str) -> None:
    async with served(tmp_path, count=1) as server:
        await node.ask("runExample", code=at(server, code), key="wrong", after=0)
        try:
            found = await node.ask_until(lambda found: found["said"], "stateOfExample")
        finally:
            await node.ask("endExample")
    assert found["said"] == [["Client connection denied!", "Invalid custom header"]]
