"""``python -m bench.portal``: rate of creating leads in a portal at its real limits, beside one call a lead.

Each client has a twin of its own, a process with the limits of an ordinary portal (2 requests/s, bucket of 50). Both
run at the same time. Only the rate after the burst counts: a full bucket lets much through at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import typer
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from adapters.bitrix24.cards import Bitrix24Cards
from adapters.bitrix24.rest.client import Bitrix24Client
from adapters.bitrix24.settings import Bitrix24Settings
from adapters.bitrix24.twin.server import webhook_url
from adapters.rate_limit import Pace
from kounter.embedded.ports import HOST, free_port
from schemas.bitrix24 import CardAction, CardCommand

WORKERS: Final = 200
"""Keys that are delivered at the same time."""
BURST_S: Final = 15.0
"""Seconds after which the bucket is full, whatever was in it."""
START_S: Final = 15.0
Create = Callable[[int], Awaitable[None]]
console = Console()


def main(seconds: Annotated[float, typer.Option(min=1, help="Seconds of creating, after the burst.")] = 60.0) -> None:
    """Measure, compare each twin's leads with those created, print a table, and a JSON line last."""
    results = asyncio.run(_race(seconds))
    table = Table("client", "leads/s", "leads", "in all", "requests", "refused for rate", "doubled or lost")
    for name, found in results.items():
        counts = (found[k] for k in ("leads", "leads_in_all", "requests", "refused_for_rate", "wrong"))
        table.add_row(name, str(found["leads_per_s"]), *(f"{n:,}" for n in counts))
    table.caption = f"leads/s and leads: in the {seconds:.0f} s after the burst"
    console.print(table)
    print(json.dumps({"portal": results}))
    if any(found["refused_for_rate"] or found["wrong"] for found in results.values()):
        raise typer.Exit(1)


async def _race(seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        async with _twin(Path(folder) / "batches.db") as ours, _twin(Path(folder) / "singles.db") as theirs:
            batches, singles = await asyncio.gather(_batches(ours, seconds), _singles(theirs, seconds))
            return {
                "kounter": await _checked(ours, batches, seconds),
                "one call a lead": await _checked(theirs, singles, seconds),
            }


@contextlib.asynccontextmanager
async def _twin(db_path: Path) -> AsyncIterator[int]:
    """Start a twin. Yields its port."""
    port = free_port()
    code = f"from adapters.bitrix24.twin.server import serve; serve({HOST!r}, {port}, {str(db_path)!r})"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    try:
        async with asyncio.timeout(START_S):
            while process.poll() is None:
                with contextlib.suppress(httpx.HTTPError):
                    await _status(port)
                    break
                await asyncio.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


async def _status(port: int) -> dict[str, Any]:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        status: dict[str, Any] = (await http.get(f"http://{HOST}:{port}/_twin/status")).json()
        return status


async def _batches(port: int, seconds: float) -> list[float]:
    """Create leads as the delivery does: many keys at the same time, each card by itself. Returns times as
    `_created`."""
    settings = Bitrix24Settings(webhook_url=SecretStr(webhook_url(HOST, port)))
    async with Bitrix24Client(settings) as client:
        cards = Bitrix24Cards(client, settings.originator)

        async def create(n: int) -> None:
            command = CardCommand(
                ext_id=f"L-{n}",
                command_id=str(n),
                aggregate="estate.lead",
                action=CardAction.CREATE_CARD,
                title=f"Лид {n}",
                name="Анна Петрова",
                phone=f"+7999{n:07}",
                stage="NEW",
            )
            await cards.deliver(command, 1, False)

        return await _created(create, WORKERS, seconds)


async def _singles(port: int, seconds: float) -> list[float]:
    """Create leads without batches, within the same limits. Returns times as `_created`."""
    pace = Pace(2.0, 50)
    async with httpx.AsyncClient(base_url=webhook_url(HOST, port), trust_env=False, timeout=65) as http:

        async def create(n: int) -> None:
            await pace.turn()
            phone = [{"VALUE": f"+7999{n:07}", "VALUE_TYPE": "WORK"}]
            fields = {"TITLE": f"Лид {n}", "NAME": "Анна Петрова", "PHONE": phone, "ORIGIN_ID": f"estate.lead:L-{n}"}
            (await http.post("crm.lead.add", json={"fields": fields})).raise_for_status()

        return await _created(create, 1, seconds)


async def _created(create: Create, workers: int, seconds: float) -> list[float]:
    """Returns the time of each created lead, in seconds since the start."""
    begun, numbers, found = time.monotonic(), iter(range(10_000_000)), list[float]()

    async def work() -> None:
        while time.monotonic() - begun < BURST_S + seconds:
            await create(next(numbers))
            found.append(time.monotonic() - begun)

    await asyncio.gather(*(work() for _ in range(workers)))
    return found


async def _checked(port: int, created: list[float], seconds: float) -> dict[str, Any]:
    """Returns the rate after the burst, and the twin's own counts."""
    status = await _status(port)
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        creations = (await http.get(f"http://{HOST}:{port}/_twin/leads")).json()["creations"]
    wrong = abs(len(created) - len(creations)) + sum(n != 1 for n in creations.values())
    after = sum(BURST_S <= at < BURST_S + seconds for at in created)
    return {
        "leads_per_s": round(after / seconds, 1),
        "leads": after,
        "leads_in_all": len(created),
        "seconds": seconds,
        "requests": sum(status["requests"].values()),
        "refused_for_rate": status["refused_for_rate"],
        "wrong": wrong,
    }


if __name__ == "__main__":
    typer.run(main)
