"""The check whether a schema registry is the one by which the records of our topics were written.

Ids are a registry's own. With another one, or one that was emptied, all would start without an error: our schemas are
registered again under other ids, and history can't be read any more, or is read as other types.
"""

from __future__ import annotations

import asyncio
import hashlib
import struct
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from schemas.codec.decoding import HEADER_SIZE
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde, full_name
from schemas.errors import BrokenSetup, UndecodableRecord, shorten
from schemas.record import contracts
from streams.kafka import identities
from streams.kafka.reader import TopicReader
from streams.kafka.settings import KafkaSettings

SYSTEM: Final = "registry"
HINT: Final = (
    "Set KOUNTER_REGISTRY__URL to the registry of this Kafka, or give it its data back. To go on with this one for "
    "good there is `kounter adopt registry`: what stands on the topics can't be read then."
)


class Seen(NamedTuple):
    """A schema id that was read on a topic."""

    topic: str
    partition: int
    offset: int
    id: int


async def prepare(kafka: KafkaSettings, serde: Serde, read: Collection[str], written: Iterable[str]) -> None:
    """Prepare the schemas of topics that are ``written``, if the registry is that of the topics that are ``read``.

    Raises BrokenSetup if it is another one, and as `Serde.prepare`.
    """
    registry, written = serde.registry, set(written)
    await check(kafka, registry, written.union(read))
    ids = await serde.prepare(written)
    wanted = {str(id): await _mark(registry, id) for id in sorted(set(ids.values()))}
    await identities.settle(kafka, SYSTEM, lambda known: {"ids": {**(known or {}).get("ids", {}), **wanted}})


async def adopt(kafka: KafkaSettings, serde: Serde, written: Iterable[str]) -> None:
    """Prepare the schemas in another registry; the ids of the old one are forgotten. Raises as `Serde.prepare`."""
    ids = await serde.prepare(written)
    wanted = {str(id): await _mark(serde.registry, id) for id in sorted(set(ids.values()))}
    await identities.settle(kafka, SYSTEM, lambda _: {"ids": wanted})


async def check(kafka: KafkaSettings, registry: SchemaRegistry, names: Collection[str]) -> None:
    """Raise BrokenSetup if the registry lacks the schemas by which records of these topics were written."""
    known = await identities.read(kafka, SYSTEM)
    noted: Mapping[str, str] = (known or {}).get("ids", {})
    if not noted:
        await _check_samples(kafka, registry, names)
        return
    ours = {c.full_name for name in names for c in contracts(name)}
    wanted = {int(id): mark for id, mark in noted.items() if mark.partition(" ")[0] in ours}
    found = await asyncio.gather(*(_mark(registry, id) for id in wanted))
    others = [(id, mark, came) for (id, mark), came in zip(wanted.items(), found, strict=True) if mark != came]
    if not others:
        return
    id, mark, came = others[0]
    name = mark.partition(" ")[0]
    topic = next((topic for topic in sorted(names) for c in contracts(topic) if c.full_name == name), "")
    if [one async for one in _samples(kafka, names)]:  # with nothing on the topics, nothing is lost
        raise BrokenSetup(_told(topic, id, name, came), hint=HINT)


async def _check_samples(kafka: KafkaSettings, registry: SchemaRegistry, names: Collection[str]) -> None:
    """Check topics from a time when nothing was noted. A single record that can't be read may be another program's."""
    ours = {c.full_name for name in names for c in contracts(name)}
    seen = [one async for one in _samples(kafka, names)]
    marks = {id: await _mark(registry, id) for id in {one.id for one in seen}}
    if seen and not any(mark.partition(" ")[0] in ours for mark in marks.values()):
        one = seen[0]
        raise BrokenSetup(_told(f"{one.topic} {one.partition}@{one.offset}", one.id, "", marks[one.id]), hint=HINT)


def _told(place: str, id: int, expected: str, came: str) -> str:
    has = f"it has {shorten(came.partition(' ')[0])}" if came else "it has no schema of that id"
    wrote = f"schema {id} was {expected}" if expected else f"schema {id} is a record of ours"
    return f"the schema registry is not the one that our topics were written with: {place}: {wrote} there, {has}"


async def _mark(registry: SchemaRegistry, id: int) -> str:
    """Returns a mark of a schema: its name, and a digest of its fields' names. Empty if there is none."""
    try:
        schema = await registry.schema(id)
    except UndecodableRecord:
        return ""
    fields = ",".join(_field_names(schema))
    return f"{full_name(schema) or 'no record'} {hashlib.sha256(fields.encode()).hexdigest()[:12]}"


def _field_names(schema: Any) -> Iterator[str]:
    fields = schema.get("fields") if isinstance(schema, dict) else None
    for field in fields if isinstance(fields, list) else ():
        yield str(field.get("name")) if isinstance(field, dict) else ""


async def _samples(kafka: KafkaSettings, names: Collection[str]) -> AsyncIterator[Seen]:
    """Yields schema ids of the last records of topics with records of Kounter."""
    async with TopicReader(kafka) as topics:
        async for record in topics.last(name for name in names if contracts(name)):
            if record.value and len(record.value) >= HEADER_SIZE and record.value[0] == 0:
                id = struct.unpack(">I", record.value[1:HEADER_SIZE])[0]
                yield Seen(record.topic, record.partition, record.offset, id)
