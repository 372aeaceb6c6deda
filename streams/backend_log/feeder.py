"""Copies the numbered log from Kafka to SQLite, for one replica of the server: a consumer without a group."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from loguru import logger

from schemas.backend import EVENTS
from schemas.codec.serde import Serde
from schemas.errors import BrokenSetup, RegistryUnavailable
from streams.backend_log.topics import LOG, event_in
from streams.kafka.batches.unpacking import stand
from streams.kafka.cluster import cluster_id
from streams.kafka.consumer import committed_consumer, stop
from streams.kafka.settings import KafkaSettings
from tables.event_log import EventLog, Logged

BATCH: Final = 5_000
POLL_MS: Final = 500
RETRY_S: Final = 2.0


class LogFeeder:
    """``appended`` is called in the event loop whenever the copy has grown."""

    def __init__(self, kafka: KafkaSettings, serde: Serde, log: EventLog, appended: Callable[[], None]) -> None:
        self._kafka, self._serde, self._log, self._appended = kafka, serde, log, appended
        self._writing = ThreadPoolExecutor(1, "event-log")
        self._consumer: AIOKafkaConsumer | None = None
        self._at = 0
        """The offset up to which the copy goes."""
        self._moved = asyncio.Condition()

    async def run(self) -> None:
        """Copy until cancelled; waits out an outage of the brokers. Raises BrokenSetup if the log is not dense."""
        try:
            while True:
                try:
                    await self._feed()
                except OffsetOutOfRangeError:
                    raise
                except (KafkaError, RegistryUnavailable) as error:
                    logger.warning("the copy of the log stopped, going on in {} s: {!r}", RETRY_S, error)
                    await asyncio.sleep(RETRY_S)
        except OffsetOutOfRangeError:
            raise BrokenSetup(
                f"topic {EVENTS} ends before what was copied from it, or its first records were deleted",
                hint="Numbers that clients have would be given again. Restore the topic.",
            ) from None
        finally:
            self._writing.shutdown()  # SQLite must not be closed under a thread that still writes

    @property
    def is_reading(self) -> bool:
        """Returns whether the log is being read now."""
        return self._consumer is not None

    async def catch_up(self, timeout_s: float) -> None:
        """Wait until the copy has all that was committed when this was called. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            async with self._moved:
                await self._moved.wait_for(lambda: self._consumer is not None)
            assert self._consumer is not None
            try:
                end = (await self._consumer.end_offsets([LOG]))[LOG]
            except KafkaError as error:
                raise TimeoutError from error
            async with self._moved:
                await self._moved.wait_for(lambda: self._at >= end)

    async def _feed(self) -> None:
        cluster = await cluster_id(self._kafka)
        if not await asyncio.to_thread(self._log.belongs_to, cluster):
            logger.warning("the copy of the log is of another Kafka cluster: copying it again")
            await asyncio.to_thread(self._log.reset, cluster)
        consumer = committed_consumer(self._kafka, auto_offset_reset="none")
        stand(consumer)
        try:
            await consumer.start()
            await self._copy(consumer)
        finally:
            self._consumer = None
            await stop(consumer)

    async def _copy(self, consumer: AIOKafkaConsumer) -> None:
        consumer.assign([LOG])
        begin, end = (await consumer.beginning_offsets([LOG]))[LOG], (await consumer.end_offsets([LOG]))[LOG]
        at = await asyncio.to_thread(lambda: self._log.offset)
        if not begin <= at <= end:
            raise OffsetOutOfRangeError({LOG: at})
        consumer.seek(LOG, at)
        self._consumer = consumer
        while True:
            await self._move(at)
            polled = await consumer.getmany(LOG, timeout_ms=POLL_MS, max_records=BATCH)
            at = await consumer.position(LOG)
            read = [await event_in(record, self._serde) for records in polled.values() for record in records]
            events = [Logged(e.update_id, e.type, e.frame) for e in read if e is not None]
            if read:
                await asyncio.get_running_loop().run_in_executor(self._writing, self._log.append, events, at)
                self._appended()

    async def _move(self, at: int) -> None:
        async with self._moved:
            self._at = at
            self._moved.notify_all()
