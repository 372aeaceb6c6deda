"""The twin as a process of its own: it serves, keeps what it has through a kill -9, and ends on SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import httpx

from adapters.bitrix24.twin.server import webhook_url
from kounter.embedded.ports import free_port

SERVE = (
    "import sys; from adapters.bitrix24.twin.server import serve; "
    "serve('127.0.0.1', int(sys.argv[1]), sys.argv[2], True)"
)


async def start(port: int, db_path: Path) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVE, str(port), str(db_path))
    async with httpx.AsyncClient(trust_env=False) as http:
        for _ in range(200):
            try:
                await http.get(f"http://127.0.0.1:{port}/_twin/status")
            except httpx.ConnectError:
                await asyncio.sleep(0.05)
            else:
                return process
    process.kill()
    raise AssertionError("the twin does not start")


def end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()


async def test_it_serves_with_limits_and_survives_a_kill(tmp_path: Path) -> None:
    port, db_path = free_port(), tmp_path / "twin.db"
    url = webhook_url("127.0.0.1", port)
    async with httpx.AsyncClient(trust_env=False) as http, AsyncExitStack() as stack:
        process = await start(port, db_path)
        stack.callback(end, process)
        calls = [http.post(f"{url}crm.lead.add", json={"fields": {"TITLE": "a"}}) for _ in range(150)]
        answers = await asyncio.gather(*calls)
        created = [answer for answer in answers if answer.status_code == 200]
        refused = [answer.json()["error"] for answer in answers if answer.status_code != 200]
        assert 50 <= len(created) < 150  # and two for each second that it takes
        assert set(refused) == {"QUERY_LIMIT_EXCEEDED"}
        process.kill()
        await process.wait()
        process = await start(port, db_path)
        stack.callback(end, process)
        assert (await http.get(f"http://127.0.0.1:{port}/_twin/status")).json()["leads"] == len(created)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) == 0
