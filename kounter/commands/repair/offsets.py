"""``kounter offsets``: the offsets of a consumer group."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from kounter.connect import connected_settings
from kounter.connectors import sinks
from kounter.terminal import screen
from schemas.errors import InvalidInput
from schemas.fields import is_id
from streams.group_reset import Move, Resetter

app = typer.Typer(help="The offsets of a consumer group.", no_args_is_help=True)


@app.callback()
def offsets() -> None:
    """The offsets of a consumer group."""


@app.command("set")
def set_offsets(
    group: Annotated[str, typer.Argument(help="As `kounter lag` names it, e.g. delivery-bitrix24.")],
    place: Annotated[str, typer.Argument(metavar="TOPIC[:PARTITION]", help="All partitions, if none is named.")],
    to: Annotated[str, typer.Argument(metavar="OFFSET|earliest|latest", help="The next record to be read.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the changes.")] = False,
) -> None:
    """Set a group's offsets. It must have no members; the counts of `kounter jobs` and parked commands stay."""
    topic, _, number = place.partition(":")
    if number and not is_id(number):
        raise InvalidInput("TOPIC[:PARTITION]", "a number behind the colon", place)
    if to not in ("earliest", "latest") and not is_id(to):
        raise InvalidInput("OFFSET", "a number, earliest or latest", to)

    async def run() -> list[Move]:
        async with Resetter(connected_settings().kafka, sinks()) as resetter:
            await resetter.check_idle(group)
            target = int(to) if is_id(to) else to
            moves = await resetter.plan(group, topic, int(number) if number else None, target)
            if not dry_run:
                await resetter.move(group, moves)
            return moves

    for move in asyncio.run(run()):
        before = "none" if move.before is None else move.before
        line = f"{move.partition.topic} {move.partition.partition}: {before} -> {move.after}"
        screen().print(line + (" (not done)" if dry_run else ""), markup=False)
