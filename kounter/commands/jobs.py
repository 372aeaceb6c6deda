"""``kounter jobs``: the fate of the commands for the outside systems."""

from __future__ import annotations

import asyncio
from dataclasses import astuple
from typing import Annotated, Final, NamedTuple

import typer

from kounter.connect import connected_settings
from kounter.connectors import sinks
from kounter.terminal import grid, put, to_json
from streams.delivery.offset_tracker import Tally
from streams.kafka.topics import group_of
from streams.query.lag import LagMeter

NAMES: Final = ("processes", "waiting", "oldest", "completed", "failed", "stalled", "parked", "dead letters")


class Jobs(NamedTuple):
    """Counts of one sink: totals since its topic was created, whatever ran or died since; the others are current."""

    system: str
    processes: int
    waiting: int
    """Commands that are not done, with the stalled ones; markers of transactions may count too."""
    oldest_s: float
    completed: int
    failed: int
    stalled: int
    parked: int
    parked_keys: int
    undecodable: int


def jobs(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Count the commands for the outside systems: completed, failed (refused), stalled (still being tried), parked.

    Kafka has these counts, because the deliveries commit them with their offsets; none needs to run.
    """

    async def read() -> list[Jobs]:
        async with LagMeter(connected_settings().kafka) as meter:
            return [await _of(meter, name, topic) for name, topic in sinks().items()]

    found = asyncio.run(read())
    if as_json:
        print(to_json([one._asdict() for one in found]))
        return
    rows = list(zip(*map(_cells, found), strict=True))
    systems = [one.system for one in found]
    table = grid("", *systems, right=systems)
    for name, cells in zip(NAMES, rows, strict=True):
        table.add_row(name, *cells)
    put(table)


def _cells(one: Jobs) -> tuple[str, ...]:
    parked = f"{one.parked} of {one.parked_keys} keys" if one.parked else "0"
    return (
        str(one.processes),
        str(one.waiting),
        f"{one.oldest_s:.1f} s",
        str(one.completed),
        _bad(one.failed),
        _bad(one.stalled),
        parked,
        _bad(one.undecodable),
    )


async def _of(meter: LagMeter, system: str, topic: str) -> Jobs:
    group = group_of(system)
    lag = await meter.of_group(group, (topic,))
    progress = await meter.progress(group, topic)
    tally = Tally(*map(sum, zip(*(astuple(one.tally) for one in progress), strict=True)))
    return Jobs(
        system=system,
        processes=sum(bool(member.partitions) for member in lag.members),
        waiting=max(0, lag.records - sum(one.done_beyond for one in progress)),
        oldest_s=lag.seconds,
        completed=tally.completed,
        failed=tally.failed,
        stalled=sum(one.stalled for one in progress),
        parked=tally.parked,
        parked_keys=tally.parked_keys,
        undecodable=tally.undecodable,
    )


def _bad(count: int) -> str:
    return f"[yellow]{count}" if count else "0"
