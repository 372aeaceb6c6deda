"""``kounter adopt``: moves on purpose to other systems."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from kounter import adopt as moving
from kounter import logs
from kounter.adopt import Move
from kounter.connect import connected_settings
from kounter.connectors import CONNECTORS, connected
from kounter.settings import Settings
from kounter.terminal import screen, shown

EXIT_DECLINED: Final = 1
STACK: Final = {"kafka": moving.to_kafka, "registry": moving.to_registry}
OUTSIDE: Final = {connector.noun: connector for connector in CONNECTORS if connector.adoption}
if TYPE_CHECKING:
    System = str
else:
    System = Literal[(*STACK, *OUTSIDE)]  # the choices of the argument


def adopt(
    system: Annotated[System, typer.Argument(help="The system that was replaced by another one.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Continue with another Kafka, registry, portal, operator or feed than before, for good.

    Every process checks its systems, and exits with 64 if another one answers. This command prints which data about
    the old one is deleted, asks, and deletes it. The processes concerned must be stopped.
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
    if (connector := OUTSIDE.get(system)) is not None:
        return await moving.to_system(connector, connected(connector, settings), settings)
    return await STACK[system](settings)
