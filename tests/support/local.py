"""A registry, and raw records, without Kafka: for the pure parts of the lane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.errors import RegistryUnavailable, UndecodableRecord
from schemas.record import contract
from streams.kafka.partitioner import partition_of

PARTITIONS = 8


class LocalRegistry:
    """Schemas by id, in memory; `down` plays an outage."""

    def __init__(self) -> None:
        self.schemas: list[dict[str, Any]] = []
        self.down = 0
        """How many of the next questions go unanswered."""

    async def register(self, subject: str, schema: dict[str, Any]) -> int:
        if schema not in self.schemas:
            self.schemas.append(schema)
        return self.schemas.index(schema) + 1

    async def set_compatibility(self, subject: str, level: str = "") -> None:
        pass

    async def schema(self, id: int) -> dict[str, Any]:
        if self.down:
            self.down -= 1
            raise RegistryUnavailable("the registry is down.")
        if not 1 <= id <= len(self.schemas):
            raise UndecodableRecord("unknown_schema_id", f"no schema {id}")
        return self.schemas[id - 1]

    schema_now = schema


async def local_serde(*topics: str) -> tuple[Serde, LocalRegistry]:
    """A serde that can encode records of ``topics``."""
    registry = LocalRegistry()
    serde = Serde(cast(SchemaRegistry, registry))
    await serde.prepare(topics)
    return serde, registry


class Raw(NamedTuple):
    """As much of aiokafka's ConsumerRecord as is read."""

    key: bytes | None
    value: bytes | None
    offset: int = 0
    partition: int = 0
    timestamp: int = 1_000
    headers: Sequence[tuple[str, bytes]] = ()


def raw(serde: Serde, topic: str, row: Any, offset: int = 0, timestamp: int | None = None) -> Raw:
    """A row as it stands on ``topic``."""
    of = contract(type(row))
    key = row[of.fields.index(of.key)].encode()
    at = 1_000 + offset if timestamp is None else timestamp
    return Raw(key, serde.encode(topic, row), offset, partition_of(key, PARTITIONS), at)


def keys_of(partition: int, count: int) -> list[str]:
    """Keys whose home is ``partition``."""
    found = (f"k{i}" for i in range(10_000) if partition_of(f"k{i}".encode(), PARTITIONS) == partition)
    return [next(found) for _ in range(count)]
