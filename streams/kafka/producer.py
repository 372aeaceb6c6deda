"""Produces records: key, partition, wire format and CloudEvents headers follow from the contract."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from typing import Any, Final, Self

from aiokafka.structs import RecordMetadata

from schemas.cloudevents import add_headers, common_headers, make_headers
from schemas.codec.serde import Serde
from schemas.errors import InvalidInput
from schemas.record import Contract, contract, partition_key
from streams.kafka.idempotent import IdempotentProducer
from streams.kafka.partitioner import partition_of
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import ProducerRecord, new_record

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
        key, value = self._encoded(of, topic, row)
        headers = make_headers(
            id=id or str(uuid.uuid4()),
            source=self._source,
            type=of.full_name,
            time_micros=time.time_ns() // 1_000 if time_micros is None else time_micros,
            subject=key,
            traceparent=traceparent,
        )
        if partition is None:
            partition = self._partition(topic, key)
        return await self._producer.send(topic, value, key.encode(), partition=partition, headers=headers)

    async def send_many(self, rows: Sequence[Row], *, topic: str | None = None) -> list[InvalidInput | None]:
        """Produce rows in order to their homes, or to ``topic``, and wait for all acknowledgements. Returns, for each
        row, the error of one that can't be written, None for one that is safe.

        Raises KafkaError if any other was perhaps not written, BrokenSetup if a topic is not prepared. A third of the
        CPU of `send` for each.
        """
        micros, refused = time.time_ns() // 1_000, list[InvalidInput | None]()
        batches: dict[tuple[str, int], list[ProducerRecord]] = {}
        for row in rows:
            of = contract(type(row))
            home = topic or of.topics[0]
            try:
                key, value = self._encoded(of, home, row)
            except InvalidInput as error:
                refused.append(error)
                continue
            refused.append(None)
            headers = add_headers(common_headers(self._source, of.full_name), str(uuid.uuid4()), micros, key, None)
            place = home, self._partition(home, key)
            entry = new_record(ProducerRecord, (key.encode(), value, headers, micros // 1_000))
            batches.setdefault(place, []).append(entry)
        await asyncio.gather(*(self.write(*place, entries) for place, entries in batches.items()))
        return refused

    async def write(self, topic: str, partition: int, entries: Sequence[ProducerRecord]) -> None:
        """Produce entries as they are, in order, and wait for the acknowledgements. Raises KafkaError."""
        sent, done = list[asyncio.Future[RecordMetadata]](), 0
        while done < len(entries):
            acknowledged, count = await self._producer.send_batch(topic, partition, entries, done)
            sent.append(acknowledged)
            done += count
        await asyncio.gather(*sent)

    def _encoded(self, of: Contract, topic: str, row: Row) -> tuple[str, bytes]:
        """Returns key and value. Raises InvalidInput if the record can't be written or is too large."""
        key: str = getattr(row, of.key)
        value = self._serde.encode(topic, row)
        if not key:
            raise InvalidInput(of.key, "a key", key)
        if len(value) > MAX_BYTES:
            raise InvalidInput(of.name, f"a record of at most {MAX_BYTES} bytes", f"{len(value)} bytes")
        return key, value

    def _partition(self, topic: str, key: str) -> int:
        return partition_of(partition_key(topic, key.encode()), self._kafka.partitions)

    async def tombstone(self, topic: str, key: str) -> RecordMetadata:
        """Delete the thing with the key ``key`` from the topic's aggregate. Raises as `send`."""
        raw = key.encode()
        partition = partition_of(partition_key(topic, raw), self._kafka.partitions)
        return await (await self._producer.send(topic, None, raw, partition=partition))
