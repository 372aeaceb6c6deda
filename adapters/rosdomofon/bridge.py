"""The bridge: what stands on the operator's own Kafka becomes records on ours, and loses nothing on the way.

A batch is acknowledged by our cluster before the group's position moves on the operator's: at least once. Whatever
comes twice has the same ``ext_id`` and the same event id, as both follow from topic, partition and offset there, and so
the fold takes it away. For the same reason the position may move a little later: a commit each batch would hold up the
next one for as long as the operator's cluster is away.

Who says something is told as an abonent only if that is news: each message would be two records otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord, RecordMetadata
from loguru import logger

from adapters.rosdomofon.foreign import rows_of, send
from adapters.rosdomofon.kafka.group_reader import Batch, GroupReader
from adapters.rosdomofon.settings import RosDomofonKafkaSettings
from schemas.domofon import Abonent, Message, SignUp
from schemas.errors import InvalidInput, KounterError, UndecodableRecord
from streams.kafka.producer import RecordProducer

FIRST_WAIT_S: Final = 0.2
MOST_WAIT_S: Final = 10.0
"""Between tries, while our cluster is away."""
REPORT_S: Final = 10.0
BATCH_S: Final = 0.05
"""Between the beginnings of two batches: each costs our cluster a transaction of every lane. The first after a pause
waits for nothing."""
COMMIT_S: Final = 0.5
"""Between two moves of the group's position; so much comes again after a crash."""
SEEN_S: Final = 3_600.0
"""How exact an abonent's ``seen_at`` is."""
MOST_KNOWN: Final = 50_000
"""Abonents; the one who was silent the longest is forgotten, and told once more."""

Bury = Callable[[ConsumerRecord, KounterError], Awaitable[Any]]
"""Puts a record that can't be read into the dead letters; returns when it is safe there."""


class Acquaintances:
    """What our cluster was told of abonents."""

    def __init__(self) -> None:
        self._told: dict[str, Abonent] = {}

    def is_news(self, who: Abonent) -> bool:
        """New, other than before, or seen for the first time in an hour."""
        told = self._told.get(who.ext_id)
        if told is None or (who.seen_at or 0) - (told.seen_at or 0) > SEEN_S * 1e6:
            return True
        return told._replace(seen_at=None) != who._replace(seen_at=None)

    def told(self, who: Abonent) -> None:
        """It is safe there, or will be before what follows it."""
        self._told.pop(who.ext_id, None)
        self._told[who.ext_id] = who
        if len(self._told) > MOST_KNOWN:
            del self._told[next(iter(self._told))]

    def forget(self) -> None:
        """Perhaps it is not safe."""
        self._told.clear()


@dataclass
class BridgeStats:
    """Totals since the start."""

    messages: int = 0
    sign_ups: int = 0
    malformed: int = 0
    deleted: int = 0
    """Records that the operator's cluster no longer had when they were to be read, as offsets count them."""
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
        self._known = Acquaintances()
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
            due = 0.0
            while not self._stopping.is_set():
                if batch := await self._reader.batch(due):
                    due = time.monotonic() + BATCH_S
                    await self._carry(batch)
                await self._reader.commit(COMMIT_S)
                self.stats.deleted = self._reader.deleted
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
                self._known.forget()
                logger.warning("rosdomofon bridge: our cluster does not take it, again in {} s: {!r}", wait, error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait)
                return
            wait = min(2 * wait, MOST_WAIT_S)
        self._reader.done(batch)

    async def _produce(self, records: list[ConsumerRecord]) -> None:
        """All at once, in their order; returns when each is acknowledged."""
        sent: list[asyncio.Future[RecordMetadata]] = []
        rows: list[Any] = []
        bad: list[tuple[ConsumerRecord, KounterError]] = []
        try:
            for record in records:
                try:
                    row, who = rows_of(record)
                    if who is not None and self._known.is_news(who):
                        sent.append(await send(self._producer, record, who))
                        self._known.told(who)
                    sent.append(await send(self._producer, record, row))
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

    def _count(self, rows: list[Any], malformed: int) -> None:
        messages = [row for row in rows if isinstance(row, Message)]
        self.stats.messages += len(messages)
        self.stats.sign_ups += sum(isinstance(row, SignUp) for row in rows)
        self.stats.malformed += malformed
        self._came(messages)

    async def _report(self) -> None:
        before: dict[str, Any] = {}
        while True:
            await asyncio.sleep(REPORT_S)
            if (now := asdict(self.stats)) != before:
                logger.info("rosdomofon bridge: {}", now)
            before = now
