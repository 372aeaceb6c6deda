"""``python -m bench.catalogue``: the catalogue's lists over a view of 200,000 premises, at 200 requests a second.

The gateway's application runs in a process of its own, without Kafka, over a view that is made here. Requests leave at
their time, whether those before were answered or not, and a latency counts from that time.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, cast

import aiohttp
import typer
import uvicorn
from rich.console import Console
from rich.table import Table

from bench.meter import cpu_seconds
from kounter.embedded.ports import HOST, free_port
from kounter.gateway.app import create_app
from kounter.gateway.reader import ViewReader, resources
from kounter.gateway.server import PatientProtocol
from kounter.settings import Settings
from streams.domains.estate import ESTATE
from tables.layout import State
from tables.view import Change, View

PREMISES: Final = "estate.premise"
URL: Final = "/api/estate/premises"
BATCH: Final = 5_000
"""Rows of a transaction, as the feeder of the view writes them."""
BUILDINGS, PROJECTS, CITIES = 300, 40, 5
FEATURES: Final = tuple(f"sign_{n}" for n in range(22))
RATE: Final = 200
LIMITS: Final = {"p99_ms": 50.0, "worst_ms": 100.0, "errors": 0}
ROUNDS: Final = 5
"""Requests of each of the worst filters; their median counts."""
WORST: Final = {
    "nothing has it": "rooms=99&order=price",
    "a feature that nothing has": "feature=none&order=-size",
    "five features": "feature=sign_1,sign_2,sign_3,sign_4,sign_5&order=price",
    "narrow ranges": "price_from=29000000&size_from=130&floor_from=24&year_from=2029&order=-changed_at",
    "a city, narrow": "city_ext_id=city-2&type=COMMERCIAL&size_from=139&order=size",
    "counted": "rooms=1,2&order=-price&count=true",
    "all counted": "count=true&order=changed_at",
}
console = Console()


def main(
    quick: Annotated[bool, typer.Option(help="A tenth of the premises, five seconds; no limits.")] = False,
) -> None:
    """Measure, print a table, and a JSON line last. Exits with 1 if a limit is exceeded."""
    with tempfile.TemporaryDirectory() as folder:
        path, port = Path(folder) / "view.sqlite", free_port()
        result: dict[str, Any] = write(path, 20_000 if quick else 200_000)
        gateway = multiprocessing.get_context("spawn").Process(target=serve, args=(path, port))
        gateway.start()
        try:
            result |= asyncio.run(measure(f"http://{HOST}:{port}", 5 if quick else 30))
        finally:
            gateway.terminate()
            gateway.join()
    table = Table("catalogue", "measured", "limit")
    for name, value in result.items():
        table.add_row(name, str(value), str(LIMITS.get(name, "")))
    console.print(table)
    print(json.dumps({"catalogue": result, "limits": LIMITS}))
    raise typer.Exit(not quick and any(result[name] > limit for name, limit in LIMITS.items()))


def premises(count: int) -> Iterator[State]:
    """Yields premises in a random order of their keys, the same ones each time."""
    pick = random.Random("catalogue")
    blank = next(a for a in ESTATE.aggregates if a.topic == PREMISES).layout.blank
    for n in pick.sample(range(count), count):
        kind = pick.choices(("APARTMENT", "STOREROOM", "PARKING", "COMMERCIAL"), (70, 12, 13, 5))[0]
        yield blank(f"premise-{n}")._replace(
            version=1,
            changed_at=1_700_000_000_000_000 + n,
            name=f"Квартира {n}",
            type=kind,
            status=pick.choices(("FREE", "TAKEN"), (40, 60))[0],
            building_ext_id=f"building-{pick.randrange(BUILDINGS)}",
            price=Decimal(pick.randrange(300_000_000, 3_000_000_000)).scaleb(-2),
            size=round(pick.uniform(20, 140), 1),
            floor=pick.randint(1, 25),
            rooms=pick.randint(1, 5) if kind == "APARTMENT" else None,
            is_sold=pick.random() < 0.5,
            year=pick.randint(2024, 2029),
            photos=(f"https://media.example/{n}/1.jpg", f"https://media.example/{n}/2.jpg"),
            features=tuple(pick.sample(FEATURES, pick.randint(0, 5))),
        )


def write(path: Path, count: int) -> dict[str, int]:
    """Make the view; returns the premises that it wrote a second of CPU, first all of them, then a fifth with another
    price and status."""
    view = _opened(path)
    parents = {
        "estate.building": {f"building-{n}": {"project_ext_id": f"project-{n % PROJECTS}"} for n in range(BUILDINGS)},
        "estate.project": {f"project-{n}": {"city_ext_id": f"city-{n % CITIES}"} for n in range(PROJECTS)},
    }
    for topic, rows in parents.items():
        blank = view.layouts[topic].blank
        view.apply([Change(topic, key, blank(key)._replace(version=1, **row)) for key, row in rows.items()], {})
    known = list(premises(count))
    pick = random.Random("changes")
    changed = [
        state._replace(version=2, changed_at=state.changed_at + 10**9, price=state.price + 1, status="FREE")
        for state in pick.sample(known, count // 5)
    ]
    result = {"premises": count, "new_per_cpu_s": _apply(view, known), "changed_per_cpu_s": _apply(view, changed)}
    view.close()
    return result


def _apply(view: View, states: list[State]) -> int:
    begun = cpu_seconds()
    for n in range(0, len(states), BATCH):
        view.apply([Change(PREMISES, state.ext_id, state) for state in states[n : n + BATCH]], {})
    return round(len(states) / (cpu_seconds() - begun))


def _opened(path: Path) -> View:
    aggregates = {aggregate.topic: aggregate for aggregate in ESTATE.aggregates}
    layouts = {topic: aggregate.layout for topic, aggregate in aggregates.items()}
    return View(path, layouts, {topic: aggregate.listing for topic, aggregate in aggregates.items()})


def serve(path: Path, port: int) -> None:
    """Serve the lists of a view until terminated."""
    no_kafka = cast(Any, None)  # lists need no feeder and no topics
    reader = ViewReader(_opened(path), no_kafka, no_kafka, [ESTATE], Settings())
    app = create_app(resources([ESTATE]), reader)
    uvicorn.run(app, host=HOST, port=port, http=PatientProtocol, ws="none", log_config=None, access_log=False)


def mixed() -> Iterator[str]:
    """Yields queries without end: what a site's visitors ask for, most of them about what is free."""
    pick = random.Random("queries")
    kinds: tuple[tuple[int, Callable[[], str]], ...] = (
        (30, lambda: f"type=APARTMENT&status=FREE&rooms={pick.randint(1, 3)},{pick.randint(4, 5)}&order=price"),
        (15, lambda: f"status=FREE&price_to={pick.randint(4, 9)}000000&size_from={pick.randint(30, 90)}&order=-size"),
        (15, lambda: f"project_ext_id=project-{pick.randrange(PROJECTS)}&status=FREE&type=APARTMENT&order=floor"),
        (10, lambda: f"city_ext_id=city-{pick.randrange(CITIES)}&status=FREE&rooms=1&floor_from=3&order=price"),
        (10, lambda: f"building_ext_id=building-{pick.randrange(BUILDINGS)}&status=FREE&order=-price"),
        (10, lambda: f"status=FREE&feature={pick.choice(FEATURES)}&year_to={pick.randint(2025, 2029)}&order=price"),
        (5, lambda: f"type=PARKING,STOREROOM&status=FREE&order=-changed_at&skip={pick.randrange(0, 200, 20)}"),
        (3, lambda: f"type=APARTMENT&status=FREE&rooms={pick.randint(1, 5)}&count=true"),
        (2, lambda: f"rooms={pick.randint(1, 5)}&floor_from=25&price_to=3{pick.randint(2, 9)}00000&order=-size"),
    )
    while True:
        yield pick.choices([make for _, make in kinds], [weight for weight, _ in kinds])[0]() + "&limit=20"


async def measure(url: str, seconds: int) -> dict[str, Any]:
    """Returns the latencies of mixed filters at `RATE`, then of each of the worst filters alone."""
    latencies: list[float] = []
    errors = 0
    async with aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(30)) as http:
        await _until_served(http)

        async def one(query: str, due: float) -> None:
            nonlocal errors
            try:
                async with http.get(f"{URL}?{query}") as answer:
                    await answer.read()
                    errors += answer.status != 200
            except (aiohttp.ClientError, TimeoutError):
                errors += 1
            latencies.append((time.perf_counter() - due) * 1_000)

        worst = {}
        for name, query in WORST.items():
            for _ in range(ROUNDS):
                await one(query, time.perf_counter())
            worst[name] = round(statistics.median(latencies[-ROUNDS:]), 1)
        latencies.clear()
        queries, begun = mixed(), time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for n in range(seconds * RATE):
                due = begun + n / RATE
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                tasks.create_task(one(next(queries), due))
    cuts = statistics.quantiles(latencies, n=100)
    named = {"p50_ms": cuts[49], "p99_ms": cuts[98], "max_ms": max(latencies), "worst_ms": max(worst.values())}
    rounded = {name: round(value, 1) for name, value in named.items()}
    return {"requests": len(latencies), "per_s": RATE, **rounded, "errors": errors, "worst_filters_ms": worst}


async def _until_served(http: aiohttp.ClientSession) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                async with http.get("/api/health/live"):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)


if __name__ == "__main__":
    typer.run(main)
