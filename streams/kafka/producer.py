"""Produces records: key, partition, wire format and CloudEvents headers follow from the contract."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any, Final, Self

from aiokafka.structs import RecordMetadata

from schemas.cloudevents import make_headers
from schemas.codec.serde import Serde
from schemas.errors import InvalidInput
from schemas.record import contract, partition_key
from streams.kafka.idempotent import IdempotentProducer
from streams.kafka.partitioner import partition_of
from streams.kafka.settings import KafkaSettings

Row = tuple[Any, ...]
MAX_BYTES: Final = 1_000_000
"""Bytes of a value: brokers accept 1 MiB by default, key and headers included."""


class RecordProducer:
    """An idempotent producer; a record is safe when `send` returns. It is an async context manager.

    ``source`` names the producer in the records' headers (``ce_source``). The topics must be prepared in ``serde``.
    """

    def __init__(self, kafka: KafkaSettings, serde: Serde, source: str) -> None:
        self._kafka, self._serde, self._source = kafka, serde, source
        self._producer = IdempotentProducer(**kafka.client_options(), linger_ms=5, max_batch_size=256 << 10)

    async def __aenter__(self) -> Self:
        await self._producer.current()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._producer.stop()

    async def send(
        self,
        row: Row,
        *,
        topic: str | None = None,
        time_micros: int | None = None,
        id: str | None = None,
        traceparent: str | None = None,
    ) -> RecordMetadata:
        """Produce a record and wait for the acknowledgement. Returns its topic, partition and offset. Raises as
        `send_nowait`.
        """
        sent = await self.send_nowait(row, topic=topic, time_micros=time_micros, id=id, traceparent=traceparent)
        return await sent

    async def send_nowait(
        self,
        row: Row,
        *,
        topic: str | None = None,
        time_micros: int | None = None,
        id: str | None = None,
        traceparent: str | None = None,
        partition: int | None = None,
    ) -> asyncio.Future[RecordMetadata]:
        """Queue a record, waiting only while the queue is full. Returns the future of its acknowledgement.

        ``topic`` is by default the record's home; ``time_micros``, microseconds since the epoch, is now; ``id`` is a
        new UUID; ``partition`` is that of the key. Raises InvalidInput if the record can't be written or is too large,
        BrokenSetup if its topic is not prepared.
        """
        of = contract(type(row))
        topic = topic or of.topics[0]
        key = row[of.fields.index(of.key)]
        value = self._serde.encode(topic, row)
        if not key:
            raise InvalidInput(of.key, "a key", key)
        if len(value) > MAX_BYTES:
            raise InvalidInput(of.name, f"a record of at most {MAX_BYTES} bytes", f"{len(value)} bytes")
        headers = make_headers(
            id=id or str(uuid.uuid4()),
            source=self._source,
            type=of.full_name,
            time_micros=time.time_ns() // 1_000 if time_micros is None else time_micros,
            subject=key,
            traceparent=traceparent,
        )
        if partition is None:
            partition = partition_of(partition_key(topic, key.encode()), self._kafka.partitions)
        return await self._producer.send(topic, value, key.encode(), partition=partition, headers=headers)

    async def tombstone(self, topic: str, key: str) -> RecordMetadata:
        """Delete the thing with the key ``key`` from the topic's aggregate. Raises as `send`."""
        raw = key.encode()
        partition = partition_of(partition_key(topic, raw), self._kafka.partitions)
        return await (await self._producer.send(topic, None, raw, partition=partition))
