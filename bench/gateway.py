"""``python -m bench.gateway``: latency of POST /users at a steady rate, exactly once, until the user can be read.

Kafka, registry, a worker and a gateway, each a process of its own. Requests leave at their time, whether those before
were answered or not, and a latency counts from that time.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated, Final

import aiohttp
import typer
from rich.console import Console

from kounter import logs
from kounter.embedded.ports import HOST, free_port
from kounter.process.supervisor import Services
from kounter.settings import EmbeddedSettings, Settings
from streams.domains.crm import CRM

WARM_S: Final = 15.0
"""Seconds of warm-up: the JVM is cold, and users go to a new partition after each 256: the first record of a partition
that was never written to stalls all for 100 ms and more, once in a deployment's life."""
MOST_CONNECTIONS: Final = 200
"""Connections of the client: the gateway refuses more than 256."""
GOAL_P99_MS: Final = 150.0
console = Console()


def main(
    rate: Annotated[int, typer.Option(min=1, help="Requests a second.")] = 200,
    seconds: Annotated[int, typer.Option(min=1, help="Measured seconds, after 15 to warm up.")] = 30,
    quick: Annotated[bool, typer.Option(help="Five seconds.")] = False,
) -> None:
    """Measure; the last line is one JSON object. Exits with 1 if a request failed or ids are not dense."""
    logs.set_up("WARNING")
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        embedded = EmbeddedSettings(kafka_port=free_port(), registry_port=free_port())
        settings = Settings(data_dir=Path(folder), embedded=embedded)
        with Services(settings, lambda name, address: None) as services:
            services.await_service(services.start_worker(CRM.name, 0))
            services.start("gateway", "gateway", env={"KOUNTER_GATEWAY__LISTEN": f'["{HOST}:{port}"]'})
            services.await_service("gateway")
            result = asyncio.run(measure(f"http://{HOST}:{port}", rate, 5 if quick else seconds))
    console.print(
        f"{result['requests']} users at {rate}/s: p50 {result['p50_ms']} ms, p99 {result['p99_ms']} ms, "
        f"max {result['max_ms']} ms, {result['errors']} errors (goal: p99 {GOAL_P99_MS:.0f} ms, none)"
    )
    print(json.dumps({"gateway": result}))
    raise typer.Exit(1 if result["errors"] or not result["dense"] else 0)


async def measure(url: str, rate: int, seconds: int) -> dict[str, float]:
    """Send requests at their times; those of the warm-up are not counted. Returns the latencies."""
    latencies: list[float] = []
    ids: list[int] = []
    errors = 0
    # Not httpx: with many connections its pool would take more time than what is measured.
    pool = aiohttp.TCPConnector(limit=MOST_CONNECTIONS)
    async with aiohttp.ClientSession(url, connector=pool, timeout=aiohttp.ClientTimeout(30)) as http:

        async def one(n: int, due: float) -> None:
            nonlocal errors
            body = {"full_name": f"Человек {n}", "phone": f"+7700{n:07}", "stage": "NEW"}
            try:
                async with http.post("/users", json=body) as answer:
                    if answer.status == 201:
                        ids.append((await answer.json())["id"])
                    else:
                        errors += 1
            except (aiohttp.ClientError, TimeoutError):
                errors += 1
                return
            if n >= WARM_S * rate:
                latencies.append((time.perf_counter() - due) * 1_000)

        begun = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for n in range(int((seconds + WARM_S) * rate)):
                due = begun + n / rate
                if (wait := due - time.perf_counter()) > 0:
                    await asyncio.sleep(wait)
                tasks.create_task(one(n, due))
    cuts = statistics.quantiles(latencies, n=100)
    return {
        "requests": len(latencies),
        "per_s": rate,
        "p50_ms": round(cuts[49], 1),
        "p99_ms": round(cuts[98], 1),
        "max_ms": round(max(latencies), 1),
        "errors": errors,
        "dense": sorted(ids) == list(range(1, len(ids) + 1)),
    }


if __name__ == "__main__":
    typer.run(main)
