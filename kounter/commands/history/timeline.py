"""``kounter timeline``: the history of one thing."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer
from rich.table import Table

from kounter.history.present import entry_as_dict, find_aggregate
from kounter.history.reader import open_reader
from kounter.terminal import grid, put, screen, shown, to_json
from streams.aggregate import Aggregate
from tables.timeline import Entry
from tables.timeline import timeline as fold_timeline

COLOURS = {"applied": "green", "duplicate": "dim", "stale": "dim", "unknown": "dim"}
"""Colours of verdicts; all others are red."""


def timeline(
    aggregate: Annotated[str, typer.Argument(help="lead, or estate.lead.")],
    ext_id: Annotated[str, typer.Argument(help="The key.")],
    personal: Annotated[bool, typer.Option(help="Show personal data.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a record.")] = False,
) -> None:
    """Print each record of one thing: its time, kind and source, the changes, or why it changed nothing.

    Exits with 1 if there is no record of it.
    """
    _, of = find_aggregate(aggregate)

    async def read() -> list[Entry]:
        async with open_reader() as reader:
            return fold_timeline(of.evolve, await reader.history(of, ext_id))

    entries = asyncio.run(read())
    if not entries:
        screen(stderr=True).print(shown(f"no record of {of.topic} {ext_id}"))
        raise typer.Exit(1)
    if as_json:
        for entry in entries:
            print(to_json(entry_as_dict(of.layout, entry, personal=personal)))
    else:
        put(as_table(of, ext_id, entries, personal=personal), "time", "record")


def as_table(of: Aggregate, ext_id: str, entries: list[Entry], *, personal: bool = False) -> Table:
    """Returns the timeline as a table for people."""
    table = grid("time", "record", "from", "changed")
    table.title = shown(f"{of.topic} {ext_id}")
    for entry in entries:
        line = entry_as_dict(of.layout, entry, personal=personal)
        changes = [f"{name}: {'—' if new is None else new}" for name, (_, new) in line["changed"].items()]
        what = shown(", ".join(changes) or _why(line) or entry.verdict)
        colour = COLOURS.get(entry.verdict, "red")
        table.add_row(line["time"][:23], entry.kind, shown(line["source"]), f"[{colour}]{what}[/]")
    return table


def _why(line: dict[str, Any]) -> str:
    """Returns the reason why a record was not folded."""
    said = str(line.get("error", ""))
    if "letter" in line:
        said += f" (dead letter {line['letter']}"
        said += f", put back {line['put_back'][:19]}" if "put_back" in line else ", not put back"
        said += f", came back as {line['again']})" if "again" in line else ")"
    return said
