"""``kounter dead-letters``: records that could not be folded or delivered."""

from __future__ import annotations

import asyncio
import base64
import heapq
import json
from collections import Counter
from typing import Annotated, Any

import typer

from adapters.brusnika.dead_letters import is_frame
from adapters.rosdomofon.dead_letters import Unreadable, is_foreign
from kounter.commands.repair.passing import pass_over
from kounter.history.dead_letters import PUT_BACK, Fates, as_dict, id_of
from kounter.history.present import row_as_dict
from kounter.history.reader import Reader, open_reader
from kounter.put_back import BATCH, LEFT_OUT, put_letters_back
from kounter.terminal import grid, put, screen, shown, to_json
from schemas.errors import InvalidInput, KounterError
from streams.kafka import dead_letters
from streams.kafka.reader import Point

HEX_BYTES = 512
app = typer.Typer(help="Records that could not be folded or delivered, whole, with the reason.", no_args_is_help=True)
app.command("pass")(pass_over)


@app.command("ls")
def list_letters(
    reason: Annotated[str | None, typer.Option(help="Only these, e.g. unknown_schema_id.")] = None,
    topic: Annotated[str | None, typer.Option(help="Only of this topic.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line each.")] = False,
) -> None:
    """List dead letters, oldest first, with their status: new, put back, or came back (put back, and refused again)."""

    async def read() -> list[dict[str, Any]]:
        found: list[tuple[tuple[int, int, int], dict[str, Any]]] = []  # a heap: the oldest first; places are unique
        fates = Fates()
        async with open_reader() as reader:
            async for record in reader.topics.read(dead_letters.TOPIC):
                if fates.take(record):
                    continue
                letter = as_dict(record)
                if reason in (None, letter["reason"]) and topic in (None, letter["topic"]):
                    at = record.timestamp, record.partition, record.offset
                    (heapq.heappush if len(found) < limit else heapq.heappushpop)(found, (at, letter))
        return [letter | fates.of(letter["id"]) for _, letter in sorted(found)]

    letters = asyncio.run(read())
    if as_json:
        for letter in letters:
            print(to_json(letter))
        return
    table = grid("id", "time", "reason", "status", "from", "key", "message")
    for letter in letters:
        origin = f"{letter['topic']} {letter['partition']}:{letter['offset']}"
        status = letter["status"] + (f" as {letter['again']}" if letter["again"] else "")
        key = letter["key"] or "—"
        cells = (letter["id"], letter["time"][:19], letter["reason"], status, origin, key, letter["message"])
        table.add_row(*(shown(cell) for cell in cells))
    if letters:
        put(table, "id", "time", "reason", "status")
    else:
        print("no dead letters")


@app.command("show")
def show(
    id: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="As `ls` prints it.")],
    personal: Annotated[bool, typer.Option(help="Show personal data, the bytes included.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs; the bytes as base64.")] = False,
) -> None:
    """Print one dead letter: its content if it can be read, its origin, the reason, and what to do."""
    try:
        partition, offset = (int(part) for part in id.split(":"))
    except ValueError:
        raise InvalidInput("id", "PARTITION:OFFSET, e.g. 3:17", id, hint="`kounter dead-letters ls`") from None
    letter = asyncio.run(_find(partition, offset, personal))
    if letter is None:
        screen(stderr=True).print(f"no dead letter {partition}:{offset}")
        raise typer.Exit(1)
    value = letter.pop("value")
    if as_json:
        print(to_json(letter | ({"value_base64": base64.b64encode(value).decode()} if personal else {})))
        return
    console = screen()
    for name, text in (letter | letter.pop("headers")).items():
        console.print(f"[dim]{shown(name):<24}[/] {shown(text)}")
    console.print(_hexdump(value) if personal else "its bytes: --personal, they may hold personal data", markup=False)


@app.command("retry")
def retry(
    ids: Annotated[list[str] | None, typer.Argument(metavar="PARTITION:OFFSET", help="As `ls` prints them.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only these, e.g. unknown_schema_id.")] = None,
    topic: Annotated[str | None, typer.Option(help="Only of this topic.")] = None,
    edit: Annotated[
        str | None, typer.Option(help="For one record of RosDomofon or Brusnika: a JSON object; its fields replace.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print how many would go, by reason.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Put records back on the topic they came from: the same bytes, key, headers and time, and a header that names the
    dead letter.

    They come after the records that the topic has by now. The dead letters stay, marked as put back; a second retry
    puts them back again.

    A record of RosDomofon's own Kafka can't go back there. It is read again and goes to domofon.message or
    domofon.sign-up, once, however often it is retried. A frame of Brusnika's feed is read again too, without the
    personal fields that were taken out of it. Exits with 1 if a record still can't be read.
    """
    if not (ids or reason or topic):
        raise InvalidInput("options", "ids, --reason or --topic", "none", hint="`kounter dead-letters ls`")

    async def run() -> tuple[list[dict[str, Any]], list[Unreadable]]:
        fates = Fates()
        async with open_reader() as reader:
            found = [
                (record, letter)
                async for record in reader.topics.read(dead_letters.TOPIC)
                if not fates.take(record)
                and (letter := as_dict(record))
                and reason in (None, letter["reason"])
                and topic in (None, letter["topic"])
                and (not ids or letter["id"] in ids)
            ]
            if edit is not None and not (len(found) == 1 and (is_foreign(found[0][0]) or is_frame(found[0][0]))):
                raise InvalidInput("edit", "the id of one record of RosDomofon or Brusnika", f"{len(found)} records")
            again = sum(fates.of(letter["id"])["status"] == PUT_BACK for _, letter in found)
            if again:
                screen(stderr=True).print(f"{again} of them were put back before: `kounter dead-letters ls`")
            still = [] if dry_run else await put_letters_back(reader, [record for record, _ in found], edit)
            return [letter for _, letter in found if letter["id"] not in {id for id, _ in still}], still

    gone, still = asyncio.run(run())
    reasons = Counter((letter["topic"], letter["reason"]) for letter in gone)
    if as_json:
        causes = [{"topic": of, "reason": why, "records": count} for (of, why), count in reasons.most_common()]
        unreadable = [one._asdict() for one in still]
        print(to_json({"records": reasons.total(), "reasons": causes, "unreadable": unreadable, "dry_run": dry_run}))
    else:
        console = screen()
        for (of, why), count in reasons.most_common():
            console.print(f"{count:>8}  {shown(of)}  {shown(why)}")
        console.print(f"{reasons.total()} records {'would be' if dry_run else 'were'} put back")
        for id, why in still:
            advice = "" if why == BATCH else " --edit fixes it, or a new release that knows it."
            console.print(f"{id} still can't be read: {shown(why)}.{advice}")
    if still:
        screen(stderr=True).print(f"{len(still)} can't be put back")
        raise typer.Exit(1)


async def _find(partition: int, offset: int, personal: bool) -> dict[str, Any] | None:
    async with open_reader() as reader:
        if not 0 <= partition < reader.kafka.partitions:
            return None
        start, end = Point(offset=offset), Point(offset=offset + 1)
        found = [r async for r in reader.topics.read(dead_letters.TOPIC, start=start, end=end, partitions=[partition])]
        if not found:
            return None
        (record,) = found
        if dead_letters.put_back_id(record) is not None:
            return None
        letter = as_dict(record) | await _fate(reader, record)
        prefix = dead_letters.ORIGINAL
        own = [(name, value) for name, value in record.headers if name.startswith(prefix)]
        left_out = dead_letters.LEFT_OUT in dict(record.headers)
        if dead_letters.BATCH in dict(record.headers):
            said: Any = "a batch that could not be unpacked, as it stands on the log"
        elif is_frame(record) and not left_out:
            said = json.loads(record.value)
        else:
            said = LEFT_OUT if left_out else await _attempt(reader, letter["topic"], record.value, personal)
        letter["record"] = said
        letter["headers"] = {
            name.removeprefix(prefix): (value or b"").decode("utf-8", "replace") for name, value in own
        }
        return letter | {"value": record.value or b""}


async def _fate(reader: Reader, letter: Any) -> dict[str, Any]:
    """Returns the fate of a letter, from the records after it; a record that came back may be on another partition."""
    fates = Fates()
    async for record in reader.topics.read(dead_letters.TOPIC):
        fates.take(record)
    return {name: value for name, value in fates.of(id_of(letter)).items() if value is not None}


async def _attempt(reader: Reader, topic: str, value: bytes | None, personal: bool) -> Any:
    """Returns the record if it can be read, as one on a wrong partition, or a refused one."""
    if value is None:
        return "tombstone"
    try:
        row = await reader.serde.decode(topic, value)
    except KounterError as error:
        return f"can't be read: {error.message}"
    return row_as_dict(row, personal=personal)


def _hexdump(data: bytes) -> str:
    lines = []
    for start in range(0, min(len(data), HEX_BYTES), 16):
        row = data[start : start + 16]
        text = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
        lines.append(f"{start:06x}  {row.hex(' '):<47}  {text}")
    if len(data) > HEX_BYTES:
        lines.append(f"… {len(data) - HEX_BYTES} more bytes; all with --json")
    return "\n".join(lines)
