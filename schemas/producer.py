"""Produces records: key, partition, wire format and CloudEvents headers follow from the contract."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any, Final, Self

from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata

from schemas.cloudevents import make_headers
from schemas.errors import InvalidInput
from schemas.kafka import KafkaSettings, partition_of
from schemas.record import contract
from schemas.serde import Serde

MAX_BYTES: Final = 1_000_000


class RecordProducer:
    """Idempotent; a record is safe when `send` returns."""

    def __init__(self, kafka: KafkaSettings, serde: Serde, source: str) -> None:
        self._kafka, self._serde, self._source = kafka, serde, source
        self._producer: AIOKafkaProducer

    async def __aenter__(self) -> Self:
        self._producer = AIOKafkaProducer(
            **self._kafka.client_options(), enable_idempotence=True, acks="all", linger_ms=5, max_batch_size=256 << 10
        )
        await self._producer.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._producer.stop()

    async def send(self, row: Any, **options: Any) -> RecordMetadata:
        """Produce and wait for the acknowledgement."""
        return await (await self.send_nowait(row, **options))

    async def send_nowait(
        self,
        row: Any,
        *,
        topic: str | None = None,
        time_micros: int | None = None,
        id: str | None = None,
        traceparent: str | None = None,
    ) -> asyncio.Future[RecordMetadata]:
        """Queue a record; the future is its acknowledgement. Raises InvalidInput if it is too large."""
        of = contract(type(row))
        topic = topic or of.topics[0]
        key = row[of.fields.index(of.key)]
        value = self._serde.encode(topic, row)
        if len(value) > MAX_BYTES:
            raise InvalidInput(of.name, f"a record of at most {MAX_BYTES} bytes", f"{len(value)} bytes")
        headers = make_headers(
            id=id or str(uuid.uuid4()),
            source=self._source,
            type=of.full_name,
            time_micros=time_micros or time.time_ns() // 1000,
            subject=key,
            traceparent=traceparent,
        )
        partition = partition_of(key.encode(), self._kafka.partitions)
        sent: asyncio.Future[RecordMetadata] = await self._producer.send(
            topic, value, key.encode(), partition=partition, headers=headers
        )
        return sent

    async def tombstone(self, topic: str, key: str) -> RecordMetadata:
        """Delete what ``key`` names."""
        raw = key.encode()
        return await self._producer.send_and_wait(topic, None, raw, partition=partition_of(raw, self._kafka.partitions))
