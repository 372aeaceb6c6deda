"""``kounter waiting``: changes for the main backend that are held until what they stand on is in its log."""

from __future__ import annotations

import asyncio
import getpass
from typing import Annotated, Any, Final

import typer

from kounter.connect import connected_settings
from kounter.history.present import moment
from kounter.history.reader import Reader, open_reader
from kounter.process.identity import ready_to_write
from kounter.terminal import grid, plain_text, put, shown, to_json
from schemas.backend import CHANGES, WaitingRelease, subject_of
from schemas.errors import InvalidInput
from schemas.record import contracts, declare_all
from streams.backend_log.memory import Waiting, waiting_in
from streams.backend_log.topics import MEMORY
from streams.kafka.producer import RecordProducer

app = typer.Typer(help="Changes for the main backend that wait for a parent which is not in its log yet.")
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Type = Annotated[str | None, typer.Option("--type", help="Only of this type, such as premise.")]
LOOK: Final = "`kounter waiting` lists what there is."


@app.callback(invoke_without_command=True)
def waiting(context: typer.Context, as_json: Json = False) -> None:
    """List them: type, id, what is missing, since when; the oldest first."""
    if context.invoked_subcommand is not None:
        return
    found = [_as_dict(one) for one in asyncio.run(_read())]
    if as_json:
        for line in found:
            print(to_json(line))
        return
    if not found:
        print("nothing waits")
        return
    table = grid("type", "ext_id", "missing", "since")
    for line in found:
        table.add_row(shown(line["type"]), shown(line["ext_id"]), shown(", ".join(line["missing"])), line["since"][:19])
    put(table, "type", "since")


@app.command()
def release(
    ext_id: Annotated[str | None, typer.Argument(help="As the list prints it; with --type.")] = None,
    type: Type = None,
    everything: Annotated[bool, typer.Option("--all", help="Whatever waits.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many would go.")] = False,
    as_json: Json = False,
) -> None:
    """Send what waits, without its parent: all changes of a thing, in their order. The backend may refuse them."""
    if everything == bool(type) or (ext_id is not None and type is None):
        came = "all" if everything else "none of them"
        raise InvalidInput("options", "--type, with or without an ext_id, or --all", came, hint=LOOK)
    _check_type(type)
    subjects = asyncio.run(_release(ext_id, type, dry_run))
    if as_json:
        print(to_json({"released": subjects, "dry_run": dry_run}))
    elif not subjects:
        print("nothing waits of that")
    else:
        done = "would go" if dry_run else "ordered: `kounter backend` sends them, `kounter waiting` shows what is left"
        print(f"{plain_text(', '.join(subjects[:20]))}{' …' if len(subjects) > 20 else ''}\n{len(subjects)}: {done}")


def _check_type(type: str | None) -> None:
    """Raises InvalidInput for a type that the log never has: a mistyped one would look like one that waits for
    nothing."""
    declare_all()
    known = sorted({c.outside for c in contracts() if c.outside and c.domain == "estate"})
    if type is not None and type not in known:
        raise InvalidInput("type", f"one of {', '.join(known)}", type, hint=LOOK)


async def _read() -> list[Waiting]:
    async with open_reader() as reader:
        return await _waiting(reader)


async def _waiting(reader: Reader) -> list[Waiting]:
    """Returns what the writer's memory holds; it need not run."""
    if not await reader.topics.has(MEMORY):
        return []
    latest: dict[bytes, bytes | None] = {}
    async for record in reader.topics.read(MEMORY, partitions=[0]):
        latest[record.key] = record.value
    return waiting_in({key: value for key, value in latest.items() if value is not None})


async def _release(ext_id: str | None, type: str | None, dry_run: bool) -> list[str]:
    async with open_reader() as reader:
        found = [w.held.change for w in await _waiting(reader)]
        wanted = [c for c in found if type in (None, c.type) and ext_id in (None, c.ext_id)]
        subjects = list(dict.fromkeys(subject_of(c.type, c.ext_id) for c in wanted))
        if subjects and not dry_run:
            settings = connected_settings()
            await ready_to_write(settings, reader.serde, {CHANGES})
            async with RecordProducer(settings.kafka, reader.serde, "kounter/waiting") as producer:
                orders = [WaitingRelease(subject, getpass.getuser()) for subject in subjects]
                await asyncio.gather(*[await producer.send_nowait(order) for order in orders])
        return subjects


def _as_dict(waiting: Waiting) -> dict[str, Any]:
    change = waiting.held.change
    return {
        "type": change.type,
        "ext_id": change.ext_id,
        "missing": list(waiting.missing),
        "since": moment(waiting.held.since_ms * 1_000),
        "for_ever": any(subject in change.parents for subject in waiting.missing),
    }
