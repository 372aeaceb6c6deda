"""An idempotent producer that outlives its own miscounts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import OutOfOrderSequenceNumber, ProducerClosed, UnknownProducerId
from aiokafka.structs import RecordMetadata

MISCOUNTED: Final = (OutOfOrderSequenceNumber, UnknownProducerId)
"""aiokafka counts a batch that it then gives up: where its partition had no leader for 40 s, or it was refused. What
follows on that partition is refused for ever; a new producer counts anew."""
FLUSH_S: Final = 5.0


class LastingProducer:
    """`AIOKafkaProducer` with ``acks=all`` and ``options``, made anew when it lost count."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._producer: AIOKafkaProducer
        self._miscounts = False
        self._renewing = asyncio.Lock()
        self._left: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._producer = await self._started()

    async def stop(self) -> None:
        """When all is sent."""
        await self._producer.stop()
        await asyncio.gather(*self._left, return_exceptions=True)

    async def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        *,
        partition: int,
        headers: Sequence[tuple[str, bytes]] | None = None,
    ) -> asyncio.Future[RecordMetadata]:
        """Queue a record, waiting only while the queue is full; the future is its acknowledgement."""
        producer = await self._usable()
        sent: asyncio.Future[RecordMetadata] = await producer.send(
            topic, value, key, partition=partition, headers=headers
        )
        sent.add_done_callback(self._look)
        return sent

    async def _started(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(**self._options, enable_idempotence=True, acks="all")
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    async def _usable(self) -> AIOKafkaProducer:
        if self._miscounts:
            async with self._renewing:
                if self._miscounts:
                    await self._renew()
        return self._producer

    async def _renew(self) -> None:
        """What the old one holds for other partitions may still arrive, so that nothing overtakes it."""
        old = self._producer
        with suppress(TimeoutError):
            await asyncio.wait_for(old.flush(), FLUSH_S)
        self._producer, self._miscounts = await self._started(), False
        leaving = asyncio.create_task(discard(old))
        self._left.add(leaving)
        leaving.add_done_callback(self._left.discard)

    def _look(self, sent: asyncio.Future[RecordMetadata]) -> None:
        if not sent.cancelled() and isinstance(sent.exception(), MISCOUNTED):
            self._miscounts = True


async def discard(producer: AIOKafkaProducer) -> None:
    """Stop a producer without sending what it still holds: that fails. What is on the wire may arrive."""
    producer._message_accumulator.fail_all(ProducerClosed())
    await producer.stop()
