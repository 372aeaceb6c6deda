"""``kounter demo``: the whole way of a record, live."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.console import Console

from kounter.demo.show import Plan, Show
from kounter.settings import load

PLAIN_WIDTH = 120
LIVE, ONCE = Plan(frames=6_000, per_second=100), Plan(frames=2_000, per_second=100)


def demo(
    once: Annotated[bool, typer.Option("--once", help="No terminal: ends by itself, last line is one JSON.")] = False,
) -> None:
    """Start everything with two workers and a company's feed, kill a worker on the way, and prove that nothing is lost.

    It ends with the story of one lead. With --once the last line is one JSON object; the exit code is 0 only if
    nothing was lost and nothing doubled: tables, outbox and the CRM's cards are compared with a fold in plain Python.
    """
    plain = once or not sys.stdout.isatty()
    console = Console(stderr=plain, width=PLAIN_WIDTH if plain else None)
    result = Show(load(), ONCE if plain else LIVE, console).run()
    if plain:
        print(json.dumps(result._asdict()))
    else:
        verdict = "[green]nothing lost, nothing doubled[/]"
        if result.lost or result.doubled:
            verdict = f"[red]{result.lost} lost, {result.doubled} doubled[/]"
        console.print(
            f"\n{result.records_in:,} records in, {result.delivered:,} commands delivered, "
            f"one worker killed, {result.seconds:.0f} s: {verdict}"
        )
    if result.lost or result.doubled:
        print(f"the proof failed: {result.lost} lost, {result.doubled} doubled", file=sys.stderr)
        raise typer.Exit(1)
