"""The bridge: what stands on the operator's own Kafka becomes records on ours, and loses nothing on the way.

A batch is acknowledged by our cluster before the group's position moves on the operator's: at least once. Whatever
comes twice has the same ``ext_id`` and the same event id, as both follow from topic, partition and offset there, and so
the fold takes it away.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord, RecordMetadata
from loguru import logger

from adapters.rosdomofon.kafka_models import Place, SignUp
from adapters.rosdomofon.reading import Batch, GroupReader
from adapters.rosdomofon.rows import message_row, sign_up_row
from adapters.rosdomofon.topics import RosDomofonKafkaSettings, read_record
from schemas.cloudevents import cause_id
from schemas.domofon import Message
from schemas.errors import InvalidInput, KounterError, UndecodableRecord
from schemas.producer import RecordProducer

FIRST_WAIT_S: Final = 0.2
MOST_WAIT_S: Final = 10.0
"""Between tries, while our cluster is away."""
REPORT_S: Final = 10.0

Bury = Callable[[ConsumerRecord, KounterError], Awaitable[Any]]
"""Puts a record that can't be read into the dead letters; returns when it is safe there."""


@dataclass
class BridgeStats:
    """Totals since the start."""

    messages: int = 0
    sign_ups: int = 0
    malformed: int = 0
    retried: int = 0
    """Batches that had to be produced once more."""


class Bridge:
    """From ``MESSAGES_IN_…`` and ``SIGN_UPS_…`` to ``domofon.message`` and ``domofon.sign-up``."""

    def __init__(
        self,
        settings: RosDomofonKafkaSettings,
        producer: RecordProducer,
        bury: Bury,
        came: Callable[[list[Message]], None] = lambda messages: None,
    ) -> None:
        """``came`` is told of messages that are safe, before they count as read.

        Raises BrokenSetup without companies or group.
        """
        self._reader = GroupReader(settings)
        self._producer, self._bury, self._came = producer, bury, came
        self._stopping = asyncio.Event()
        self.stats = BridgeStats()
        self.ready = asyncio.Event()
        """It reads."""

    def stop(self) -> None:
        """Let `run` end the batch that is under way and return."""
        self._stopping.set()

    async def run(self) -> None:
        """Until `stop`, or until the operator denies us: then it raises DeliveryDenied.

        Raises DeliveryUnavailable if the operator's cluster can't be reached at the start; later it is waited for.
        """
        reporter = asyncio.create_task(self._report())
        try:
            await self._reader.start()
            self.ready.set()
            while not self._stopping.is_set():
                if batch := await self._reader.batch():
                    await self._carry(batch)
        finally:
            reporter.cancel()
            await self._reader.stop()
            logger.info("rosdomofon bridge ends: {}", asdict(self.stats))

    async def _carry(self, batch: Batch) -> None:
        """Over to our cluster, however long that takes; only an order to stop ends it, and then it comes again."""
        # Records have no key: where a topic has several partitions, an abonent's messages are in all of them.
        records = list(heapq.merge(*batch.values(), key=lambda record: record.timestamp))
        wait = FIRST_WAIT_S
        while True:
            try:
                await self._produce(records)
                break
            except (KafkaError, OSError) as error:
                self.stats.retried += 1
                logger.warning("rosdomofon bridge: our cluster does not take it, again in {} s: {!r}", wait, error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait)
                return
            wait = min(2 * wait, MOST_WAIT_S)
        await self._reader.done(batch)

    async def _produce(self, records: list[ConsumerRecord]) -> None:
        """All at once, in their order; returns when each is acknowledged."""
        sent: list[asyncio.Future[RecordMetadata]] = []
        rows: list[Any] = []
        bad: list[tuple[ConsumerRecord, KounterError]] = []
        try:
            for record in records:
                try:
                    row = self._row(record)
                    sent.append(await self._send(record, row))
                    rows.append(row)
                except (UndecodableRecord, InvalidInput) as error:
                    bad.append((record, error))
        finally:  # also of those that were sent before a failure the end is awaited, so that none overtakes a repeat
            outcomes = await asyncio.gather(*sent, return_exceptions=True)
        if failed := next((o for o in outcomes if isinstance(o, BaseException)), None):
            raise failed
        for record, problem in bad:
            logger.warning("rosdomofon bridge: {}-{}@{}: {}", record.topic, record.partition, record.offset, problem)
            await self._bury(record, problem)
        self._count(rows, len(bad))

    def _row(self, record: ConsumerRecord) -> Any:
        place = Place(record.topic, record.partition, record.offset)
        read = read_record(record.topic, record.value).at(place)
        return sign_up_row(read) if isinstance(read, SignUp) else message_row(read, record.timestamp * 1_000)

    async def _send(self, record: ConsumerRecord, row: Any) -> asyncio.Future[RecordMetadata]:
        id = cause_id(record.topic, record.partition, record.offset, 0)
        return await self._producer.send_nowait(row, id=id, time_micros=record.timestamp * 1_000)

    def _count(self, rows: list[Any], malformed: int) -> None:
        messages = [row for row in rows if isinstance(row, Message)]
        self.stats.messages += len(messages)
        self.stats.sign_ups += len(rows) - len(messages)
        self.stats.malformed += malformed
        self._came(messages)

    async def _report(self) -> None:
        before: dict[str, Any] = {}
        while True:
            await asyncio.sleep(REPORT_S)
            if (now := asdict(self.stats)) != before:
                logger.info("rosdomofon bridge: {}", now)
            before = now
