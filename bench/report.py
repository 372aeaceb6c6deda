"""The results as a table, Markdown, JSON and a plot."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from kounter.embedded.artifacts import KAFKA_VERSION

NAMES = {
    "lane": "Kounter's lane, exactly once",
    "plain": "the same without its parts in C",
    "quix": "Quix Streams, exactly once",
    "stock": "Faust as it comes, at least once",
}


def spread(values: list[float]) -> str:
    """Returns ``min / median / max`` of values."""
    shown = (min(values), statistics.median(values), max(values))
    return " / ".join(f"{v:,.0f}" if v >= 100 else f"{v:.1f}" for v in shown)


def rows(results: dict[str, Any]) -> list[list[str]]:
    """Returns the rows of the fold: variant, events, CPU, RSS, CPU relative to the lane's."""
    lane = statistics.median(results["fold"]["lane"]["cpu_ms_per_1k"])
    found = []
    for variant, measured in results["fold"].items():
        ratio = statistics.median(measured["cpu_ms_per_1k"]) / lane
        found.append(
            [
                NAMES[variant],
                spread(measured["events_per_s"]),
                spread(measured["cpu_ms_per_1k"]),
                f"{ratio:.1f} x",
                str(measured["rss_mb"]),
            ]
        )
    return found


HEADS = ["engine", "events/s min / median / max", "CPU ms per 1k min / median / max", "CPU", "RSS MB"]


def show(results: dict[str, Any], console: Console) -> None:
    """Print the results."""
    table = Table(*HEADS, title="The same job, interleaved rounds")
    for row in rows(results):
        table.add_row(*row)
    console.print(table)
    for guarantee, ms in results["latency_ms"].items():
        console.print(f"latency at 1,000/s, {guarantee}: p50 {ms['p50']} ms, p99 {ms['p99']} ms, max {ms['max']} ms")
    restored = results["restore"]
    console.print(
        f"restore: {restored['records']:,} records in {restored['seconds']} s, {restored['records_per_s']:,}/s"
    )


def write(results: dict[str, Any], folder: Path) -> None:
    """Write ``results.json``, ``RESULTS.md`` and ``results.png``."""
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    (folder / "RESULTS.md").write_text(_markdown(results), "utf-8")
    _plot(results, folder / "results.png")


def _markdown(results: dict[str, Any]) -> str:
    restored = results["restore"]
    lines = [
        "# Results",
        "",
        "Made by `make bench`; one run, one broker on the same machine, engines in turn. Every run's states and",
        "outputs were compared with a plain fold of the input. " + described(results["machine"]),
        "",
        "| " + " | ".join(HEADS) + " |",
        "|" + "---|" * len(HEADS),
        *("| " + " | ".join(row) + " |" for row in rows(results)),
        "",
        "![CPU per thousand events](results.png)",
        "",
        "| latency at 1,000/s, append to outbox visible | p50 ms | p99 ms | max ms |",
        "|---|---|---|---|",
        *(f"| {g} | {ms['p50']} | {ms['p99']} | {ms['max']} |" for g, ms in results["latency_ms"].items()),
        "",
        f"Restore of {restored['records']:,} changelog records: {restored['records_per_s']:,} records/s.",
        "",
    ]
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """Returns the facts about this machine that results depend on."""
    return {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "kafka": KAFKA_VERSION,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def described(machine: Mapping[str, Any]) -> str:
    """Returns these facts as a sentence."""
    return f"{machine['cpus']} shared cores, Python {machine['python']}, Kafka {machine['kafka']}, {machine['date']}."


def _plot(results: dict[str, Any], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names = [NAMES[v].replace(", ", "\n") for v in results["fold"]]
    medians = [statistics.median(m["cpu_ms_per_1k"]) for m in results["fold"].values()]
    figure, axes = plt.subplots(figsize=(7, 3.1))
    bars = axes.barh(names, medians, color=["#2a7f62", "#63a88d", "#8aa29e", "#c8c8c8"][: len(names)])
    axes.bar_label(bars, [f"{m:.1f}" for m in medians], padding=4)
    axes.set_xlabel("CPU ms per 1,000 events (log scale), median")
    axes.set_xscale("log")
    axes.set_xlim(right=max(medians) * 2)
    axes.invert_yaxis()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
