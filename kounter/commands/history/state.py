"""``kounter state``: the state of one thing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from kounter.history.present import find_aggregate, state_as_dict
from kounter.history.reader import open_reader
from kounter.terminal import screen, shown, to_json
from streams.kafka.reader import parse_moment
from tables.layout import State, come
from tables.timeline import timeline


def state(
    aggregate: Annotated[str, typer.Argument(help="lead, or estate.lead.")],
    ext_id: Annotated[str, typer.Argument(help="The key.")],
    as_of: Annotated[str | None, typer.Option(help="As it was then: 2026-11-01T00:00:00Z or -1h.")] = None,
    personal: Annotated[bool, typer.Option(help="Show personal data.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Print the state of one thing from its table; with --as-of, folded from its topic up to a time.

    Exits with 1 if nothing is known of it.
    """
    domain, of = find_aggregate(aggregate)
    until = None if as_of is None else parse_moment("--as-of", as_of, datetime.now(UTC))

    async def find() -> State | None:
        async with open_reader() as reader:
            if until is None:
                return await reader.state(domain, of, ext_id)
            history = [said for said in await reader.history(of, ext_id) if said.at <= until]
            entries = timeline(of.evolve, history)
            return entries[-1].after if entries else None

    found = asyncio.run(find())
    if come(found) is None or found is None:
        why = "nothing is known of" if found is None else "what is said waits for its own record to come, of"
        screen(stderr=True).print(shown(f"{why} {of.topic} {ext_id}"))
        raise typer.Exit(1)
    values = state_as_dict(of.layout, found, personal=personal)
    if as_json:
        print(to_json(values))
        return
    table = Table(title=shown(f"{of.topic} {ext_id}"), show_header=False, box=None, title_justify="left")
    for name, value in values.items():
        table.add_row(f"[dim]{name}[/]", shown(value))
    screen().print(table)
