"""``kounter parked``: commands that an outside system refused, and later commands of the same key."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from kounter.connect import connected_settings
from kounter.connectors import sinks
from kounter.history.present import row_as_dict
from kounter.history.reader import Reader, open_reader
from kounter.parked import Placed, as_dict, by_cause, chosen, drops, heads, line_of, read_parked, retries
from kounter.process.identity import ready_to_write
from kounter.stalled import Stalled, parks, read_stalled
from kounter.terminal import grid, plain_text, put, screen, shown, to_json
from schemas.errors import InvalidInput, KounterError
from streams.delivery.parking import Parked
from streams.kafka.producer import RecordProducer
from streams.kafka.topics import changelog_of, group_of

app = typer.Typer(
    help="Commands that an outside system refused, and later commands of the same key: nothing is lost.",
    no_args_is_help=True,
)
if TYPE_CHECKING:
    Sink = str
else:
    Sink = Literal[tuple(sinks())]  # the choices of the option
System = Annotated[Sink | None, typer.Option(help="Only of this sink, as `kounter jobs` names it.", show_default=False)]
Key = Annotated[str | None, typer.Option(help="Only of this key.")]
Cause = Annotated[str | None, typer.Option(help="Only where the cause has these words.")]
All = Annotated[bool, typer.Option("--all", help="All parked commands.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print how many would go, by cause.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
SHOWN: Final = 20
LOOK: Final = "`kounter parked ls` lists what there is."
Orders = Callable[[Reader, list[Parked]], Coroutine[Any, Any, tuple[list[Parked], list[Placed]]]]


@app.command("ls")
def list_parked(key: Key = None, cause: Cause = None, as_json: Json = False, system: System = None) -> None:
    """List parked commands: those of each key in their order, the refused one first."""

    async def read() -> list[Parked]:
        async with open_reader() as reader:
            return chosen(await read_parked(reader, *_memories(system)), key, cause)

    found = [as_dict(p) for p in asyncio.run(read())]
    if as_json:
        for line in found:
            print(to_json(line))
        return
    names = ("topic", "key", "offset", "since", "reason", "message")
    table = grid(*names)
    for line in found:
        line["since"] = line["since"][:19]
        table.add_row(*(shown(line[name]) for name in names))
    if found:
        put(table, "offset", "since", "reason")
    else:
        print("nothing is parked")


@app.command("show")
def show(
    key: Annotated[str, typer.Argument(help="As `ls` prints it.")],
    personal: Annotated[bool, typer.Option(help="Show personal data.")] = False,
    as_json: Json = False,
    system: System = None,
) -> None:
    """Print the parked commands of a key: content, time, reason, and what to do."""

    async def read() -> list[dict[str, Any]]:
        async with open_reader() as reader:
            found = chosen(await read_parked(reader, *_memories(system)), key, None)
            return [as_dict(p) | {"command": await _said(reader, p, personal)} for p in found]

    found = asyncio.run(read())
    if not found:
        screen(stderr=True).print(f"nothing is parked of {shown(key)}")
        raise typer.Exit(1)
    console = screen()
    for line in found:
        if as_json:
            print(to_json(line))
            continue
        for name, value in line.items():
            console.print(f"[dim]{name:<10}[/] {shown(value)}")
        console.print()


@app.command("retry")
def retry(
    key: Key = None,
    cause: Cause = None,
    everything: All = False,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Fix the refused command; empty clears.")
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    system: System = None,
) -> None:
    """Try parked commands again, each key from its refused command on, in order. The first one that is refused again
    ends it.

    A fixed command is a new record on the topic of the commands; the old one stays there unchanged.
    """
    fixed = _changes(changes or [])

    async def orders(reader: Reader, parked: list[Parked]) -> tuple[list[Parked], list[Placed]]:
        firsts = chosen(heads(parked), key, cause)
        lines = set(map(line_of, firsts))
        behind = [p for p in parked if line_of(p) in lines]
        return behind, await retries(reader, firsts, fixed, getpass.getuser())

    _order(orders, system, _checked(key, cause, everything), dry_run, as_json)


@app.command("drop")
def drop(
    key: Key = None,
    cause: Cause = None,
    everything: All = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    system: System = None,
) -> None:
    """Drop parked commands for good. Those that are parked behind a dropped command stay until they are tried again."""

    async def orders(reader: Reader, parked: list[Parked]) -> tuple[list[Parked], list[Placed]]:
        found = chosen(parked, key, cause)
        return found, drops(found, getpass.getuser())

    _order(orders, system, _checked(key, cause, everything), dry_run, as_json)


@app.command("park")
def park(
    system: Annotated[Sink, typer.Argument(help="The sink, as `kounter jobs` names it.")],
    name: Annotated[str, typer.Argument(metavar="KEY", help="The command's key, or its command_id.")],
    as_json: Json = False,
) -> None:
    """Park a stalled command, so that the commands behind it are no longer held up.

    Its retries end, and its key is parked as after a refusal. A call under way comes to its end first; if that
    succeeds, nothing is parked. `kounter jobs` counts the stalled commands.
    """

    async def run() -> tuple[list[Stalled], list[Stalled]]:
        async with open_reader() as reader:
            stalled = await read_stalled(reader, group_of(system), sinks()[system])
            found = [one for one in stalled if name in (one.key, one.command_id)]
            await _send(reader, parks(found, getpass.getuser()))
            return found, stalled

    found, stalled = asyncio.run(run())
    if as_json:
        print(to_json({"commands": len(found), "stalled": [one._asdict() for one in found or stalled]}))
    elif found:
        print(f"ordered for {len(found)} command(s): the delivery parks them, `kounter parked ls` shows them")
    if not found:
        known = ", ".join(f"{shown(one.key)} ({shown(one.command_id or 'an order')})" for one in stalled[:SHOWN])
        screen(stderr=True).print(f"no stalled command of that; stalled are: {known or 'none'}")
        raise typer.Exit(1)


async def _send(reader: Reader, orders: list[Placed]) -> None:
    """Write orders to the topics of their commands."""
    if not orders:
        return
    await ready_to_write(connected_settings(), reader.serde, {placed.topic for placed in orders})
    async with RecordProducer(connected_settings().kafka, reader.serde, "kounter/parked") as producer:
        sent = [await producer.send_nowait(o, topic=topic, partition=p) for topic, p, o in orders]
        await asyncio.gather(*sent)


def _order(orders: Orders, system: str | None, words: str, dry_run: bool, as_json: bool) -> None:
    """Print what would be ordered; without --dry-run also put the orders on the topic of the commands."""

    async def run() -> tuple[list[Parked], int]:
        async with open_reader() as reader:
            found, wanted = await orders(reader, await read_parked(reader, *_memories(system)))
            if not dry_run:
                await _send(reader, wanted)
            return found, len(wanted)

    found, keys = asyncio.run(run())
    if as_json:
        print(to_json({"commands": len(found), "keys": keys, "causes": dict(by_cause(found)), "dry_run": dry_run}))
        return
    if not found:
        print(f"nothing is parked of that ({plain_text(words)})")
        return
    table = grid("commands", "cause")
    for cause, count in by_cause(found):
        table.add_row(str(count), shown(cause))
    put(table)
    done = "would go" if dry_run else "ordered: the delivery does it, `kounter parked ls` shows what is left"
    print(f"commands: {len(found)}, keys: {keys} ({plain_text(words)}); {done}")


def _checked(key: str | None, cause: str | None, everything: bool) -> str:
    """Returns the choice in words. Raises InvalidInput if nothing is chosen, or if --all comes with a filter."""
    if everything == bool(key or cause):
        raise InvalidInput(
            "options", "--key, --cause or both, or --all", "none of them" if not everything else "all", hint=LOOK
        )
    return " ".join(filter(None, (key and f"key {key}", cause and f"cause {cause}"))) or "all"


def _changes(pairs: list[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InvalidInput("--set", "FIELD=VALUE", pair, hint=LOOK)
        found[name] = value
    return found


def _memories(system: str | None) -> list[str]:
    return [changelog_of(group_of(name)) for name in sinks() if system in (None, name)]


async def _said(reader: Reader, parked: Parked, personal: bool) -> Any:
    try:
        row = await reader.serde.decode(parked.topic, parked.value)
    except KounterError as error:
        return f"can't be read: {error.message}"
    return row_as_dict(row, personal=personal)
