"""An idempotent producer that is recreated after a sequence error."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidTimestampError, OutOfOrderSequenceNumber, ProducerClosed, UnknownProducerId
from aiokafka.structs import RecordMetadata

from schemas.errors import KounterError
from streams.kafka.clients import append_all

MISCOUNTED: Final = (OutOfOrderSequenceNumber, UnknownProducerId)
"""Errors after a miscount. aiokafka counts a batch that it then gives up: when its partition had no leader for 40 s, or
it was refused. All later ones on that partition are refused for ever; a new producer counts from the start.
"""
FLUSH_S: Final = 5.0


class ClockWrong(KounterError, InvalidTimestampError):  # type: ignore[misc]
    """Kafka's brokers refuse a record for its time, which is over an hour ahead of theirs
    (``message.timestamp.after.max.ms``).
    """

    code = "clock_wrong"
    hint = "Set the clock of this machine, or of the brokers (NTP). Nothing is lost: it is written when they agree."

    def __init__(self) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        super().__init__(f"Kafka's brokers refuse a record for its time; this machine's clock says {now}")

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}"


class IdempotentProducer:
    """An `AIOKafkaProducer` with ``acks=all`` and ``options``, started when first needed, and replaced after a
    miscount.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._producer: AIOKafkaProducer | None = None
        self._miscounts = False
        self._beginning = asyncio.Lock()
        self._left: set[asyncio.Task[None]] = set()

    async def current(self) -> AIOKafkaProducer:
        """Returns the producer in use. Raises KafkaError if none can be started."""
        if self._producer is not None and not self._miscounts:
            return self._producer
        async with self._beginning:
            if self._miscounts and self._producer is not None:
                with suppress(TimeoutError):  # its records for other partitions are not to be overtaken
                    await asyncio.wait_for(self._producer.flush(), FLUSH_S)
                self.drop()
            if self._producer is None:
                self._producer = await self._begun()
            return self._producer

    async def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        *,
        partition: int | None,
        timestamp_ms: int | None = None,
        headers: Sequence[tuple[str, bytes]] | None = None,
    ) -> asyncio.Future[RecordMetadata]:
        """Queue a record, waiting only while the queue is full; the future is its acknowledgement, or a KafkaError
        such as ClockWrong."""
        producer = await self.current()
        sent: asyncio.Future[RecordMetadata] = await producer.send(
            topic, value, key, partition=partition, timestamp_ms=timestamp_ms, headers=headers
        )
        return self._acknowledged(producer, sent)

    async def send_batch(
        self, topic: str, partition: int, entries: Sequence[Any], start: int
    ) -> tuple[asyncio.Future[RecordMetadata], int]:
        """Queue one batch of the entries (key, value, headers, timestamp in ms) from ``start`` on, half the CPU of
        `send` for each. Returns the future of its acknowledgement and the number of entries it took."""
        producer = await self.current()
        batch = producer.create_batch()
        count = append_all(batch, entries, start)
        batch.close()
        return self._acknowledged(producer, await producer.send_batch(batch, topic, partition=partition)), count

    def _acknowledged(
        self, producer: AIOKafkaProducer, sent: asyncio.Future[RecordMetadata]
    ) -> asyncio.Future[RecordMetadata]:
        acknowledged: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        sent.add_done_callback(partial(self._pass_on, producer, acknowledged))
        return acknowledged

    def drop(self) -> None:
        """Give up the records that are not sent yet: they fail with ProducerClosed. Those on the wire may arrive."""
        if self._producer is None:
            return
        leaving = asyncio.create_task(_discard(self._producer))
        self._left.add(leaving)
        leaving.add_done_callback(self._left.discard)
        self._producer, self._miscounts = None, False

    async def stop(self) -> None:
        """Stop the producer when all records are sent."""
        if self._producer is not None:
            await self._producer.stop()
        await asyncio.gather(*self._left, return_exceptions=True)

    async def _begun(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(**self._options, enable_idempotence=True, acks="all")
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    def _pass_on(
        self,
        producer: AIOKafkaProducer,
        acknowledged: asyncio.Future[RecordMetadata],
        sent: asyncio.Future[RecordMetadata],
    ) -> None:
        error = None if sent.cancelled() else sent.exception()
        if producer is self._producer and isinstance(error, MISCOUNTED):
            self._miscounts = True
        if acknowledged.done():
            return
        if sent.cancelled():
            acknowledged.cancel()
        elif error is None:
            acknowledged.set_result(sent.result())
        else:
            acknowledged.set_exception(ClockWrong() if isinstance(error, InvalidTimestampError) else error)


async def _discard(producer: AIOKafkaProducer) -> None:
    producer._message_accumulator.fail_all(ProducerClosed())
    await producer.stop()
