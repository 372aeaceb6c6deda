"""Puts commands on their topics and waits for their replies.

It reads the reply topics without a consumer group: each gateway replica reads all replies and takes those that it
waits for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition
from loguru import logger

from schemas.codec.serde import Serde
from schemas.commands import CommandReply
from schemas.errors import CommandUnanswered, RegistryUnavailable, UndecodableRecord
from streams.kafka.batches.headers import UnreadableBatch
from streams.kafka.consumer import committed_consumer
from streams.kafka.producer import RecordProducer
from streams.kafka.settings import KafkaSettings

RETRY_S: Final = 1.0
FETCH_WAIT_MS: Final = 100
"""Milliseconds that a broker may hold an empty fetch; it answers as soon as there is a record."""


class CommandClient:
    """Sends commands with ``bus.ask(command)`` while ``bus.run()`` reads. Each command has its own ``command_id``."""

    def __init__(self, kafka: KafkaSettings, serde: Serde, producer: RecordProducer, replies: Sequence[str]) -> None:
        self._kafka, self._serde, self._producer = kafka, serde, producer
        self._tps = [TopicPartition(topic, p) for topic in replies for p in range(kafka.partitions)]
        self._waiting: dict[str, asyncio.Future[CommandReply]] = {}
        self._positions: dict[TopicPartition, int] = {}
        self._reading = asyncio.Event()

    async def ask(self, command: Any, timeout: float) -> CommandReply:
        """Returns the reply to a command. Raises CommandUnanswered, and InvalidInput for a command that can't be
        written.
        """
        answer: asyncio.Future[CommandReply] = asyncio.get_running_loop().create_future()
        self._waiting[command.command_id] = answer
        try:
            async with asyncio.timeout(timeout):
                await self._reading.wait()
                await self._producer.send(command)
                return await answer
        except (TimeoutError, KafkaError) as error:
            raise CommandUnanswered(f"no answer within {timeout:g} s; the command may still be carried out") from error
        finally:
            del self._waiting[command.command_id]

    async def run(self) -> None:
        """Reads replies until cancelled; after an outage it goes on from its last position."""
        while True:
            try:
                await self._read()
            except (KafkaError, RegistryUnavailable) as error:
                logger.warning("replies can't be read, going on in {} s: {!r}", RETRY_S, error)
                await asyncio.sleep(RETRY_S)

    async def _read(self) -> None:
        consumer = committed_consumer(self._kafka, auto_offset_reset="latest", fetch_max_wait_ms=FETCH_WAIT_MS)
        try:
            await consumer.start()
            consumer.assign(self._tps)
            ends = await consumer.end_offsets(self._tps)
            for tp in self._tps:
                consumer.seek(tp, self._positions.setdefault(tp, ends[tp]))
            self._reading.set()
            while True:
                try:
                    polled = await consumer.getmany(timeout_ms=1_000)
                except UnreadableBatch as batch:  # who waits for what is in it asks again; no other caller waits
                    logger.warning("{} The gateway goes on behind it.", batch.message)
                    consumer.seek(TopicPartition(*batch.id[:2]), batch.last + 1)
                    continue
                for tp, records in polled.items():
                    for record in records:
                        await self._take(record)
                    self._positions[tp] = records[-1].offset + 1
        finally:
            await consumer.stop()

    async def _take(self, record: Any) -> None:
        if not self._waiting or record.value is None:
            return
        try:
            reply: Any = await self._serde.decode(record.topic, record.value)
        except UndecodableRecord as error:
            logger.warning("{}: {}", record.topic, error)
            return
        answer = self._waiting.get(reply.command_id)
        if answer is not None and not answer.done():
            answer.set_result(reply)
