"""``kounter dead-letters``: records that could not be folded or delivered."""

from __future__ import annotations

import asyncio
import base64
import heapq
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import typer
from aiokafka import AIOKafkaProducer

from adapters.brusnika.dead_letters import is_frame
from adapters.brusnika.dead_letters import take_over as take_frames
from adapters.rosdomofon.dead_letters import SOURCE, Unreadable, is_foreign, take_over
from kounter.commands.repair.passing import pass_over
from kounter.connect import connected_settings
from kounter.history.dead_letters import PUT_BACK, Fates, as_dict, id_of
from kounter.history.present import row_as_dict
from kounter.history.reader import Reader, open_reader
from kounter.process.identity import check_kafka, ready_to_write
from kounter.terminal import grid, put, screen, shown, to_json
from schemas.errors import InvalidInput, KounterError
from schemas.record import outside_topics, partition_key
from streams.domains import DOMAINS
from streams.kafka import dead_letters
from streams.kafka.partitioner import partition_of
from streams.kafka.producer import RecordProducer
from streams.kafka.reader import Point
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import REQUEST_BYTES

HEX_BYTES = 512
BATCH = "it keeps a batch that could not be unpacked: produce its records again from their source"
LEFT_OUT = "too large to be kept: it stands only where it came from"
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
            still = [] if dry_run else await _retried(reader, [record for record, _ in found], edit)
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


async def _retried(reader: Reader, letters: list[Any], edit: str | None) -> list[Unreadable]:
    """Put letters back, or read them from the operator's cluster again. Returns those for which that is impossible."""
    await check_kafka(connected_settings())
    whole, still = list[Any](), list[Unreadable]()
    for letter in letters:
        headers, id = dict(letter.headers), f"{letter.partition}:{letter.offset}"
        if dead_letters.BATCH in headers:
            still.append(Unreadable(id, BATCH))
        elif dead_letters.LEFT_OUT in headers:
            still.append(Unreadable(id, LEFT_OUT))
        else:
            whole.append(letter)
    foreign = [letter for letter in whole if is_foreign(letter)]
    frames = [letter for letter in whole if is_frame(letter)]
    ours = [letter for letter in whole if not is_foreign(letter) and not is_frame(letter)]
    await _put_back(reader.kafka, ours)
    if frames:
        still += await _take_frames(reader, frames, edit)
    if foreign:
        topics = [aggregate.topic for aggregate in DOMAINS["domofon"].aggregates]
        await ready_to_write(connected_settings(), reader.serde, topics)
        async with RecordProducer(reader.kafka, reader.serde, SOURCE) as producer:
            unread = await take_over(producer, foreign, edit)
        still += unread
        await _mark(reader.kafka, [letter for letter in foreign if id_of(letter) not in {one.id for one in unread}])
    return still


async def _take_frames(reader: Reader, frames: list[Any], edit: str | None) -> list[Unreadable]:
    """Read frames of the developer's feed again. Returns those that can't be read."""
    settings = connected_settings()
    await ready_to_write(settings, reader.serde, outside_topics())
    async with RecordProducer(reader.kafka, reader.serde, settings.brusnika.source) as producer:
        unread = [Unreadable(*one) for one in await take_frames(producer, frames, edit)]
    still = {one.id for one in unread}
    await _mark(reader.kafka, [letter for letter in frames if id_of(letter) not in still])
    return unread


@asynccontextmanager
async def _producing(kafka: KafkaSettings) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        **kafka.client_options(), enable_idempotence=True, acks="all", max_request_size=REQUEST_BYTES
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def _mark(kafka: KafkaSettings, letters: list[Any]) -> None:
    """Mark each letter as put back. That is done afterwards, so the records of marked letters exist."""
    async with _producing(kafka) as producer:
        sent = []
        for letter in letters:
            entry = dead_letters.put_back(letter)
            at = letter.partition
            sent.append(
                await producer.send(dead_letters.TOPIC, entry.value, entry.key, partition=at, headers=entry.headers)
            )
        await asyncio.gather(*sent)


async def _put_back(kafka: KafkaSettings, letters: list[Any]) -> None:
    """Put records back on the partition of their key; one without a key goes to its own partition."""
    records = [(letter, *dead_letters.original(letter)) for letter in letters]
    async with _producing(kafka) as producer:
        sent = []
        for letter, topic, entry in records:
            known = await producer.partitions_for(topic)
            own = int(dict(letter.headers)["__connect.errors.partition"])
            partition = own if entry.key is None else partition_of(partition_key(topic, entry.key), len(known))
            sent.append(
                await producer.send(
                    topic, entry.value, entry.key, partition, timestamp_ms=entry.timestamp, headers=entry.headers
                )
            )
        await asyncio.gather(*sent)
    await _mark(kafka, letters)


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
