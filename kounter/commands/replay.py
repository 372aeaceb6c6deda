"""``kounter replay``: a topic's records, again."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from kounter.present import find_aggregate, moment, plain_text, row_as_dict, screen, to_json
from kounter.reader import Reader, open_reader
from schemas.errors import InvalidInput
from streams.domain import Aggregate
from streams.reading import Point, parse_point
from tables.timeline import Said


class Format(StrEnum):
    """How records are printed."""

    JSONL = "jsonl"
    TABLE = "table"


def replay(
    aggregate: Annotated[str, typer.Argument(help="lead, or estate.lead.")],
    since: Annotated[str | None, typer.Option("--from", help="2026-11-01T00:00:00Z, -1h or offset:123.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Likewise; not included.")] = None,
    key: Annotated[str | None, typer.Option(help="Only records of this ext_id.")] = None,
    form: Annotated[Format, typer.Option("--format", help="jsonl: one JSON line a record.")] = Format.JSONL,
    personal: Annotated[bool, typer.Option(help="Show personal data.")] = False,
) -> None:
    """Print the records of a topic, oldest first within a partition, up to its end as of now. Nothing is written.

    Progress goes to stderr, so the output can be piped. A record that can't be read is printed with the reason.
    """
    _, of = find_aggregate(aggregate)
    now = datetime.now(UTC)
    start = parse_point(since, now) if since else None
    end = parse_point(until, now) if until else None
    if start and end and _is_empty(start, end):
        raise InvalidInput("--to", f"a point behind --from {since}", until, hint="Mend the option.")
    try:
        printed = asyncio.run(_replay(of, start, end, key, form, personal))
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    else:
        if not printed:
            screen(stderr=True).print(f"no record of {of.topic} there")


def _is_empty(start: Point, end: Point) -> bool:
    """Two times or two offsets in the wrong order; a time and an offset can't be compared."""
    pairs = zip(start, end, strict=True)
    return any(low is not None and high is not None and low >= high for low, high in pairs)


async def _replay(
    of: Aggregate, start: Point | None, end: Point | None, key: str | None, form: Format, personal: bool
) -> int:
    """Returns how many records were printed."""
    printed = 0
    async with open_reader() as reader:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(of.topic, total=None)
            partitions = None if key is None else [reader.topics.partition(of.topic, key)]
            raw = key.encode() if key else None
            async for record in reader.topics.read(
                of.topic, start=start, end=end, partitions=partitions,
                on_size=lambda size: progress.update(task, total=size),
            ):  # fmt: skip
                progress.advance(task)
                if raw is None or record.key == raw:
                    print(await _line(reader, record, form, personal))
                    printed += 1
    return printed


async def _line(reader: Reader, record: Any, form: Format, personal: bool) -> str:
    said = await reader.said(record)
    line = _as_dict(record, said, personal)
    if form is Format.JSONL:
        return to_json(line)
    said_of = line.get("record")
    body = ", ".join(f"{name}: {value}" for name, value in said_of.items()) if said_of else line.get("error", "")
    place = f"{line['partition']}:{line['offset']}"
    text = f"{line['time'][:23]:<23}  {place:<10} {line['key']!s:<20} {line['type']:<12} {body}"
    return plain_text(text).replace("\n", "⏎")  # or a key could pass for a line


def _as_dict(record: Any, said: Said, personal: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "time": moment(said.meta.time),
        "key": None if record.key is None else record.key.decode("utf-8", "replace"),
        "type": None,
        "headers": {name: (value or b"").decode("utf-8", "replace") for name, value in record.headers},
    }
    if isinstance(said.row, Exception):
        found |= {"type": "unreadable", "error": str(said.row)}
    elif said.row is None:
        found |= {"type": "tombstone", "record": None}
    else:
        found |= {"type": type(said.row).__name__, "record": row_as_dict(said.row, personal=personal)}
    return found
