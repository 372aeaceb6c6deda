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

from kounter.connectors import CONNECTORS, context_of
from kounter.history.present import find_topic, moment
from kounter.history.reader import Reader, open_reader
from kounter.history.records import keys_of, shown_as
from kounter.settings import load
from kounter.terminal import plain_text, screen, to_json
from schemas.cloudevents import read_headers
from schemas.errors import InvalidInput
from streams.domains import DOMAINS
from streams.kafka.reader import Point, parse_point


class Format(StrEnum):
    """Output formats of records."""

    JSONL = "jsonl"
    TABLE = "table"


def replay(
    topic: Annotated[
        str, typer.Argument(help="lead, estate.lead, bitrix.commands, dead-letters …: any of our topics.")
    ],
    since: Annotated[str | None, typer.Option("--from", help="2026-11-01T00:00:00Z, -1h or offset:123.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="The same forms; not included.")] = None,
    key: Annotated[str | None, typer.Option(help="Only records of this ext_id.")] = None,
    form: Annotated[Format, typer.Option("--format", help="jsonl: one JSON line a record.")] = Format.JSONL,
    personal: Annotated[bool, typer.Option(help="Show personal data.")] = False,
) -> None:
    """Print the records of a topic, oldest first within a partition, up to its end as of now. Nothing is written.

    Progress goes to stderr, so the output can be piped. A record that can't be read is printed with the reason.
    """
    context = context_of(load())
    of = find_topic(topic, (name for c in CONNECTORS if c.source for name in c.source.topics(context)))
    now = datetime.now(UTC)
    start = parse_point(since, now) if since else None
    end = parse_point(until, now) if until else None
    if start and end and _is_empty(start, end):
        raise InvalidInput("--to", f"a point behind --from {since}", until, hint="Fix the option.")
    try:
        printed = asyncio.run(_replay(of, start, end, key, form, personal))
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    else:
        if not printed:
            screen(stderr=True).print(f"no record of {of} there")


def _is_empty(start: Point, end: Point) -> bool:
    """Returns whether two times or two offsets are in the wrong order; a time and an offset can't be compared."""
    pairs = zip(start, end, strict=True)
    return any(low is not None and high is not None and low >= high for low, high in pairs)


async def _replay(
    of: str, start: Point | None, end: Point | None, key: str | None, form: Format, personal: bool
) -> int:
    """Returns the number of printed records."""
    printed = 0
    async with open_reader() as reader:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(of, total=None)
            partitions = _partitions(reader, of, key)
            async for record in reader.topics.read(
                of, start=start, end=end, partitions=partitions,
                on_size=lambda size: progress.update(task, total=size),
            ):  # fmt: skip
                progress.advance(task)
                if not key or key in keys_of(record):
                    print(await _line(reader, record, form, personal))
                    printed += 1
    return printed


def _partitions(reader: Reader, of: str, key: str | None) -> list[int] | None:
    """Returns the partitions that may have the key, None for all. Only on topics that are folded does the key choose
    the partition: other records are on the partition of their cause."""
    is_home = key and any(of in domain.by_topic for domain in DOMAINS.values())
    return [reader.topics.partition(of, key)] if key and is_home else None


async def _line(reader: Reader, record: Any, form: Format, personal: bool) -> str:
    line = await _as_dict(reader, record, personal)
    if form is Format.JSONL:
        return to_json(line)
    said_of = line.get("record") or line.get("letter")
    body = ", ".join(f"{name}: {value}" for name, value in said_of.items()) if isinstance(said_of, dict) else said_of
    place = f"{line['partition']}:{line['offset']}"
    what = line.get("error") or body or ""
    text = f"{line['time'][:23]:<23}  {place:<10} {line['key']!s:<20} {line['type']:<12} {what}"
    return plain_text(text).replace("\n", "⏎")  # or a key could pass for a line


async def _as_dict(reader: Reader, record: Any, personal: bool) -> dict[str, Any]:
    kind, fields = await shown_as(reader, record, personal)
    meta = read_headers(
        record.headers,
        timestamp_ms=record.timestamp,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
    )
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "time": moment(meta.time),
        "key": None if record.key is None else keys_of(record)[0],
        "type": kind,
        "headers": {name: (value or b"").decode("utf-8", "replace") for name, value in record.headers},
        **fields,
    }
