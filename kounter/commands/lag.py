"""``kounter lag``: records that are not processed yet."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from kounter.connect import connected_settings
from kounter.connectors import sinks
from kounter.process.blocked import as_dicts
from kounter.terminal import grid, put, screen, shown, to_json
from streams.domains import DOMAINS
from streams.kafka.topics import group_of
from streams.query.lag import GroupState, LagMeter


def lag(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Count the records that wait for workers and deliveries, with the age of the oldest."""

    async def measure() -> list[GroupState]:
        async with LagMeter(connected_settings().kafka) as meter:
            groups = [await meter.of_domain(domain) for domain in DOMAINS.values()]
            return groups + [await meter.of_group(group_of(name), (topic,)) for name, topic in sinks().items()]

    groups = asyncio.run(measure())
    if as_json:
        print(to_json([_as_dict(group) for group in groups]))
        return
    table = grid("group", "state", "members", "topic", "assigned", "behind", "seconds")
    for group in groups:
        for i, topic in enumerate(group.topics):
            first = (group.group, group.state, str(len(group.members))) if i == 0 else ("", "", "")
            colour = "green" if topic.records == 0 else "yellow"
            assigned = f"{topic.assigned}/{topic.partitions}"
            behind = f"[{colour}]{topic.records}" + (f" [red]+{topic.deleted} deleted" if topic.deleted else "")
            table.add_row(*first, topic.topic, assigned, behind, f"{topic.seconds:.1f}")
    put(table, "state", "topic", "assigned", "members", "behind", "seconds")
    for batch in (batch for group in groups for batch in group.unreadable):
        screen().print(f"[red]{shown(batch.message)}[/] {shown(batch.hint)}", soft_wrap=True)


def _as_dict(group: GroupState) -> dict[str, Any]:
    return {
        "group": group.group,
        "state": group.state,
        "records": group.records,
        "seconds": group.seconds,
        "unreadable": as_dicts(group.unreadable),
        "topics": [topic._asdict() for topic in group.topics],
        "members": [member._asdict() for member in group.members],
    }
