"""``kounter adopt``: moves on purpose."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

import typer

from kounter import adopt as moving
from kounter import logs
from kounter.adopt import Move
from kounter.commands.deliver import with_twin
from kounter.commands.feed import with_twin as with_feed
from kounter.commands.rosdomofon import with_operator
from kounter.connect import connected_settings
from kounter.embedded.runfile import RunFile
from kounter.settings import Settings
from kounter.terminal import screen, shown

EXIT_DECLINED = 1


def adopt(
    system: Annotated[
        Literal["kafka", "registry", "portal", "operator", "feed"], typer.Argument(help="What is another one now.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Without asking.")] = False,
) -> None:
    """Go on with another Kafka, registry, portal, operator or feed than before, for good.

    Every process compares whose they are, and leaves with 64 where another one answers. This says what is forgotten
    with the old one, asks, and then forgets it. The processes concerned must be stopped.
    """
    settings = connected_settings()
    logs.set_up("WARNING")
    move = asyncio.run(_move(system, settings))
    console = screen()
    if move is None:
        console.print(f"the {system} that is set is the one that is known: nothing to do")
        return
    console.print(f"from: {shown(move.before)}\nto: {shown(move.after)}\nforgets: {shown(move.forgets)}")
    if not yes and not typer.confirm("Go on?"):
        raise typer.Exit(EXIT_DECLINED)
    asyncio.run(move.carry_out())
    console.print(f"done: this {system} is the one that is known now")


async def _move(system: str, settings: Settings) -> Move | None:
    run = RunFile(settings.data_dir)
    match system:
        case "kafka":
            return await moving.to_kafka(settings)
        case "registry":
            return await moving.to_registry(settings)
        case "portal":
            return await moving.to_portal(settings, with_twin(settings.bitrix24, run))
        case "operator":
            return await moving.to_operator(settings, with_operator(settings.rosdomofon, run, settings.kafka))
        case _:
            return await moving.to_feed(settings, with_feed(settings.brusnika, run).url)
