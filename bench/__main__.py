"""``make bench``: the lane beside its peers, its latency, its restore rate."""

from __future__ import annotations

import asyncio
import importlib.util
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bench import report
from bench.latency import latency
from bench.restore import restore
from bench.track import Track
from bench.workload import SOURCE, Digest, reference
from kounter.embedded.ports import free_port
from kounter.embedded.stack import EmbeddedStack

STOCK_SOURCE = "bench.stock"
console = Console()


def main(
    quick: Annotated[bool, typer.Option(help="Fewer records and rounds; nothing is written.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each engine, in turn.")] = 3,
) -> None:
    """Measure, compare every result with a plain fold, print, and write the ``bench/results.*`` files."""
    counts = (
        {"lane": 60_000, "plain": 60_000, "quix": 60_000, "stock": 4_000}
        if quick
        else {"lane": 200_000, "plain": 200_000, "quix": 200_000, "stock": 20_000}
    )
    if importlib.util.find_spec("quixstreams") is None:
        console.print("quixstreams is not installed (extra `peers`): left out")
        del counts["quix"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with EmbeddedStack(folder / "stack", free_port(), free_port(), kafka_heap_mb=1024) as stack:
            track = Track(stack.bootstrap_servers, stack.registry_url, folder / "runs")
            results = asyncio.run(_measure(track, counts, 1 if quick else rounds, quick))
    report.show(results, console)
    if not quick:
        report.write(results, Path(__file__).parent)


async def _measure(track: Track, counts: dict[str, int], rounds: int, quick: bool) -> dict[str, Any]:
    console.print("filling the topics")
    await track.fill(SOURCE, counts["lane"])
    await track.fill(STOCK_SOURCE, counts["stock"])
    wanted = {n: reference(n) for n in set(counts.values())}
    fold: dict[str, dict[str, Any]] = {v: {"events_per_s": [], "cpu_ms_per_1k": [], "rss_mb": 0} for v in counts}
    for round_ in range(1, rounds + 1):
        for engine, records in counts.items():
            source = STOCK_SOURCE if engine == "stock" else SOURCE
            measured, run = await asyncio.to_thread(track.race, engine, records, source)
            console.print(
                f"round {round_}, {engine}: {measured['events_per_s']:,}/s, {measured['cpu_ms_per_1k']} ms per 1k"
            )
            _check(engine, await track.check(engine, run), wanted[records])
            fold[engine]["events_per_s"].append(measured["events_per_s"])
            fold[engine]["cpu_ms_per_1k"].append(measured["cpu_ms_per_1k"])
            fold[engine]["rss_mb"] = max(fold[engine]["rss_mb"], measured["rss_mb"])
    restored = await restore(track, 200_000 if quick else 1_000_000)
    latencies = {g: await latency(track, g, 5 if quick else 20) for g in ("exactly_once", "at_least_once")}
    return {"fold": fold, "latency_ms": latencies, "restore": restored, "machine": report.machine()}


def _check(engine: str, found: Digest, wanted: Digest) -> None:
    if found != wanted:
        raise SystemExit(f"{engine}: {found} is not {wanted}")


if __name__ == "__main__":
    typer.run(main)
