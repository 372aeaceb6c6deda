"""Records to bytes and back: the Confluent wire format over the registry's ids."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from loguru import logger

from schemas.codec.avro import avro_schema
from schemas.codec.decoding import HEADER_SIZE, Decode, row_decoder
from schemas.codec.encoding import row_encoder
from schemas.codec.registry import SchemaRegistry
from schemas.errors import BrokenSetup, UndecodableRecord, shorten
from schemas.record import Contract, contracts

Row = tuple[Any, ...]
PASSED_OVER: Final = (
    "{}: schema {} has fields that our record lacks, which are dropped: {}. `kounter schemas check --registry` names"
    " all such schemas; a field that is needed must come into Kounter's own."
)
VERIFY_S: Final = 5.0
REGISTERED_AT_ONCE: Final = 8
"""Schemas that are registered side by side."""


class Known(NamedTuple):
    """A writer's schema in use: the contract of its records, and the decoder of its values (with header)."""

    contract: Contract
    decode: Decode
    extra: tuple[str, ...] = ()
    """Fields of the writer that our record lacks; their values are dropped."""


class Serde:
    """Encodes with our schemas; decodes values of any version of a writer's schema to our rows."""

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry
        self._registered: dict[int, Contract] = {}
        self._verified = 0.0
        self._encoders: dict[tuple[str, type], Callable[[Any], bytes]] = {}
        self.decoders: dict[bytes, Known] = {}
        """Known schemas by wire header, for loops that can't wait; for a missing header call `learn`."""

    @property
    def registry(self) -> SchemaRegistry:
        return self._registry

    async def prepare(self, topics: Iterable[str]) -> dict[str, int]:
        """Register (or find) our schemas of all records of ``topics``, with FULL_TRANSITIVE compatibility. Idempotent.

        Returns ids by subject. Raises IncompatibleSchema, RegistryUnavailable, BrokenSetup.
        """
        pairs = [(topic, c) for topic in topics for c in contracts(topic)]
        # All at once would wait for each other in the registry's queue, and each has the whole timeout to keep.
        few = asyncio.Semaphore(REGISTERED_AT_ONCE)
        ids = await asyncio.gather(*(self._register(topic, c, few) for topic, c in pairs))
        for (topic, c), id in zip(pairs, ids, strict=True):
            self._registered[id] = c
            self._encoders[topic, c.record] = row_encoder(c, b"\0" + struct.pack(">I", id))
        return {c.subject(topic): id for (topic, c), id in zip(pairs, ids, strict=True)}

    async def _register(self, topic: str, of: Contract, few: asyncio.Semaphore) -> int:
        subject = of.subject(topic)
        async with few:
            await self._registry.set_compatibility(subject)
            return await self._registry.register(subject, avro_schema(of))

    def encode(self, topic: str, row: Row) -> bytes:
        """Returns a Kafka value. Raises BrokenSetup for a record that was not prepared, InvalidInput for a value too
        large."""
        return self.encoder(topic, type(row))(row)

    def encoder(self, topic: str, record: type) -> Callable[[Any], bytes]:
        """Returns `encode` for one type of record. Raises BrokenSetup if it was not prepared."""
        found = self._encoders.get((topic, record))
        if found is None:
            raise BrokenSetup(f"{record.__name__} is not prepared for {topic}.")
        return found

    async def learn(self, header: bytes) -> Known:
        """Returns the schema of a wire header (the first five bytes of a value). Asks the registry once for each
        header.

        Raises UndecodableRecord, and RegistryUnavailable, which is not the record's fault.
        """
        if len(header) < HEADER_SIZE or header[0] != 0:
            raise UndecodableRecord("not_confluent_wire", "not a zero byte, four bytes of schema id and a body")
        if header not in self.decoders:
            id = struct.unpack(">I", header[1:HEADER_SIZE])[0]
            try:
                self.decoders[header] = _known(id, await self._registry.schema(id))
            except UndecodableRecord:
                await self._verify_soon()  # with another registry no record is at fault
                raise
        return self.decoders[header]

    async def verify(self) -> None:
        """Check that the registry is still the one where our schemas were prepared, by the first and the last of them.

        Raises BrokenSetup, RegistryUnavailable.
        """
        self._verified = time.monotonic()
        for id in {min(self._registered), max(self._registered)} if self._registered else ():
            of = self._registered[id]
            try:
                came = full_name(await self._registry.schema_now(id)) or "no record"
            except UndecodableRecord:
                came = "no schema at all"
            if came != of.full_name:
                raise BrokenSetup(
                    f"the schema registry is another one than before: schema {id} was {of.full_name}, now it is "
                    f"{shorten(came)}",
                    hint="Set KOUNTER_REGISTRY__URL to the right one, or give it its data back, then start again.",
                )

    async def _verify_soon(self) -> None:
        """Verify, unless that was just done: a producer may send any number of unreadable records."""
        if time.monotonic() - self._verified > VERIFY_S:
            await self.verify()

    async def decode(self, topic: str, value: bytes) -> Row:
        """Returns the row of a record of ``topic``. Raises as `learn` does."""
        header = value[:HEADER_SIZE]
        known = self.decoders.get(header)
        if known is None:
            known = await self.learn(header)
            if known.extra:
                logger.warning(PASSED_OVER, topic, int.from_bytes(header[1:]), ", ".join(known.extra))
        if topic not in known.contract.topics:
            raise UndecodableRecord("foreign_record", f"{known.contract.full_name} is no record of {topic}")
        return known.decode(value)


def _known(id: int, writer: Any) -> Known:
    name = full_name(writer)
    found = next((c for c in contracts() if c.full_name == name), None)
    if found is None:
        raise UndecodableRecord("unknown_record_type", f"schema {id}, {shorten(name)}, is no record of ours")
    try:
        return Known(found, row_decoder(writer, found), extra_fields(writer, found))
    except Exception as error:  # any error of a parser in a foreign schema
        raise UndecodableRecord("unreadable_schema", f"schema {id} of {name}: {shorten(error, 200)}") from None


def extra_fields(writer: Any, of: Contract) -> tuple[str, ...]:
    """Returns the fields of a writer's schema that our record lacks."""
    return tuple(shorten(f["name"]).strip("'") for f in writer.get("fields", ()) if f.get("name") not in of.fields)


def full_name(writer: Any) -> str:
    """Returns the full name of a record's schema from its JSON, empty for other types."""
    if not isinstance(writer, dict) or writer.get("type") != "record":
        return ""
    name = str(writer.get("name", ""))
    namespace = writer.get("namespace")
    return name if "." in name or not namespace else f"{namespace}.{name}"
