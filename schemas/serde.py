"""Records to bytes and back: the Confluent wire format over the registry's ids."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from schemas.avro import avro_schema
from schemas.codec import row_decoder, row_encoder
from schemas.errors import BrokenSetup, UndecodableRecord
from schemas.record import Contract, contracts
from schemas.registry import SchemaRegistry


class Known(NamedTuple):
    """A writer schema that was met."""

    contract: Contract
    decode: Callable[[bytes], Any]


class Serde:
    """Encodes with our schemas, decodes with the writer's to ours."""

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry
        self._encoders: dict[tuple[str, type], tuple[bytes, Callable[[Any], bytes]]] = {}
        self.decoders: dict[bytes, Known] = {}

    async def prepare(self, topics: Iterable[str]) -> None:
        """Register the schemas of all records of these topics."""
        for topic in topics:
            for c in contracts(topic):
                id = await self._registry.register(c.subject(topic), avro_schema(c))
                await self._registry.set_compatibility(c.subject(topic))
                self._encoders[topic, c.record] = (b"\0" + struct.pack(">I", id), row_encoder(c))

    def encode(self, topic: str, row: Any) -> bytes:
        """Wire header and body."""
        found = self._encoders.get((topic, type(row)))
        if found is None:
            raise BrokenSetup(f"{type(row).__name__} is not prepared for {topic}")
        header, encode = found
        return header + encode(row)

    async def learn(self, header: bytes) -> Known:
        """What a 5-byte wire header stands for."""
        if len(header) < 5 or header[0] != 0:
            raise UndecodableRecord("not_confluent_wire", "not a zero byte, four bytes of schema id and a body")
        if header not in self.decoders:
            writer = await self._registry.schema(struct.unpack(">I", header[1:5])[0])
            name = f"{writer.get('namespace', '')}.{writer.get('name', '')}"
            found = next((c for c in contracts() if c.full_name == name), None)
            if found is None:
                raise UndecodableRecord("unknown_record_type", f"{name} is no record of ours")
            self.decoders[header] = Known(found, row_decoder(writer, found))
        return self.decoders[header]

    async def decode(self, topic: str, value: bytes) -> Any:
        """A record of ``topic``."""
        known = self.decoders.get(value[:5]) or await self.learn(value[:5])
        if topic not in known.contract.topics:
            raise UndecodableRecord("foreign_record", f"{known.contract.full_name} is no record of {topic}")
        return known.decode(value)
