"""The Brusnika twin as a server: its status, and as a process of its own."""

from __future__ import annotations

import asyncio
import sys

import httpx

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
