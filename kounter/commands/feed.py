"""``kounter feed``: the feed files of a developer, and the state and position of Brusnika's socket feed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from adapters.brusnika.connector import BRUSNIKA
from adapters.brusnika.position import KafkaPositions, Position
from adapters.brusnika.status import STATUS, lines_of
from kounter.connect import connected_settings
from kounter.feed_files import accept, check, files, show_files
from kounter.settings import Settings
from kounter.terminal import to_json

app = typer.Typer(help="Feed files, and the state and position of Brusnika's socket feed.")


@app.callback(invoke_without_command=True)
def feed(context: typer.Context) -> None:
    """Feed files, and the position of Brusnika's socket feed."""
    if context.invoked_subcommand is None:  # the name of an earlier version for `kounter source brusnika`
        brusnika()


@app.command(hidden=True)
def brusnika() -> None:
    """Run `kounter source brusnika`; the name of an earlier version."""
    from kounter.commands.source import run_source

    run_source(BRUSNIKA.name)


app.command()(check)
app.command()(accept)


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Show the socket feed, as it reported last: connection, position, counters, missing changes. Then each feed file:
    when it was good last, its numbers, and why it can't be had or is refused."""
    settings = connected_settings()
    socket, known = asyncio.run(_status(settings))
    if as_json:
        print(to_json({"socket": socket, "files": known}))
        return
    for line in lines_of(socket, datetime.now(UTC)):
        print(line)
    if known:
        show_files(known)


async def _status(settings: Settings) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    async with KafkaPositions(settings.kafka, settings.brusnika.source) as positions:
        return (await positions.load_notes()).get(STATUS), await files(settings)


@app.command()
def reset(
    to: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Ask after this update_id; 0: for all there is.")] = 0,
    anew: Annotated[
        bool, typer.Option("--anew", help="The feed numbers from 1 again: count its numbers as newer than all before.")
    ] = False,
) -> None:
    """Set the position of the feed: a running one uses it with its next connection.

    All changes above the number come again. Known ones are dropped as a duplicate or stale; with `--anew` none is,
    because their numbers continue above those that were read before.
    """
    settings = connected_settings()
    before, after = asyncio.run(_reset(settings, to, anew))
    print(
        f"the feed was after update_id {int(before)}; with its next connection it is asked for all changes above {to}"
    )
    if anew:
        print(
            f"{after.above} is added to their numbers on our topics, so that each counts as newer than what came before"
        )
    else:
        print("what is known of them is dropped as a duplicate or stale")


async def _reset(settings: Settings, to: int, anew: bool) -> tuple[Position, Position]:
    async with KafkaPositions(settings.kafka, settings.brusnika.source) as positions:
        before = await positions.load()
        return Position(0) if before is None else before, await positions.reset(to, anew=anew)
