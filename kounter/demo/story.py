"""The end of the demonstration: one lead's timeline, its state, and its card in the CRM."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from kounter.commands.history.timeline import as_table
from kounter.demo.probe import twin_leads
from kounter.history.present import state_as_dict
from kounter.history.reader import Reader
from streams.domains.estate import ESTATE
from tables.timeline import timeline

LEAD = "estate.lead"


async def tell(console: Console, reader: Reader, ext_id: str, webhook_url: str) -> None:
    """Print the story of one lead."""
    aggregate = ESTATE.by_topic[LEAD]
    entries = timeline(aggregate.evolve, await reader.history(aggregate, ext_id))
    console.print(f"\n[bold]The story of one lead[/]   (kounter timeline lead {ext_id})\n")
    console.print(as_table(aggregate, ext_id, entries))
    state = entries[-1].after
    assert state is not None
    cards = await twin_leads(webhook_url)
    card = next((c for c in cards if c.get("ORIGIN_ID") == f"{LEAD}:{ext_id}"), {})
    sides = Table.grid(padding=(0, 4))
    sides.add_row(
        _fields("its state, in the table", state_as_dict(aggregate.layout, state)),
        _fields("its card, in Bitrix24 (the twin)", card),
    )
    console.print()
    console.print(sides)


def _fields(title: str, values: dict[str, Any]) -> Table:
    table = Table(title=title, show_header=False, box=None, title_justify="left")
    for name, value in values.items():
        if value not in (None, ""):
            table.add_row(f"[dim]{name}[/]", str(value))
    return table
