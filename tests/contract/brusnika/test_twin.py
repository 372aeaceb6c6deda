"""The Brusnika twin as a server: its status, and as a process of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import aiohttp
import httpx
import pytest
from multidict import CIMultiDict

from adapters.brusnika.twin.changes import changes
from adapters.brusnika.twin.server import BrusnikaTwin
from tests.support.systems.brusnika import KEY, Shell, running
from tests.support.waiting import until


async def test_the_twin_tells_its_status_and_keeps_its_pace() -> None:
    shell = Shell()
    async with BrusnikaTwin(seed=1, rate=200, limit=100, header_value=KEY) as twin:
        begun = asyncio.get_running_loop().time()
        async with running(shell.feed(twin.url)):
            await until(lambda: twin.status.done)
            # 99 waits of 5 ms; a busy machine only makes it longer
            assert asyncio.get_running_loop().time() - begun > 0.4
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{twin.port}", trust_env=False) as http:
                status = (await http.get("/status")).json()
                assert (await http.get("/else")).status_code == 404
            assert status["sent"] == 100
            assert status["clients"] == 1


async def test_the_twin_as_a_process_ends_on_a_signal() -> None:
    code = "from adapters.brusnika.twin.server import serve; serve('127.0.0.1', 0, 1, 10.0, None, 'k')"
    twin = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=asyncio.subprocess.PIPE)
    assert twin.stderr is not None
    shell = Shell()
    try:
        line = (await asyncio.wait_for(twin.stderr.readline(), 60)).decode()
        async with running(shell.feed(line.split()[-1], key="k")):
            await until(lambda: len(shell.rows) > 1)
            twin.terminate()
            assert await asyncio.wait_for(twin.wait(), 60) == 0
    finally:
        if twin.returncode is None:
            twin.kill()
        await twin.communicate()


@pytest.mark.parametrize(
    "headers",
    [[], [("X-Kounter-Key", KEY)] * 2, [("X-Kounter-Key", "ключ")], [("X-Kounter-Key", KEY + "x")], [("X-Key", KEY)]],
)
@pytest.mark.parametrize("path", ["", "nest"])
async def test_a_header_that_is_not_the_key_is_answered_with_the_seeds_frame(headers: Any, path: str) -> None:
    async with (
        BrusnikaTwin(header_value=KEY) as twin,
        aiohttp.ClientSession() as http,
        http.ws_connect(twin.url + path, headers=CIMultiDict(headers)) as socket,
    ):
        frame = json.loads((await socket.receive()).data)
        await socket.receive()
    assert socket.close_code == 1008
    assert frame == {
        "data": None,
        "error": {
            "id": 400,
            "labels": dict.fromkeys(("en", "ru", "uz"), "Client connection denied!"),
            "meta": {"message": "Invalid custom header"},
        },
    }


async def test_people_come_among_the_changes_of_all_types() -> None:
    words = {json.loads(c.frame)["data"]["type"] for c in changes(3, 400, faults=0, people=True)}
    assert words == {
        "city", "project", "building", "section", "premise", "lead", "lead_op", "time_slots", "user", "agency",
        "client", "client_fixing", "booking", "VISIT", "task",
    }  # fmt: skip
