"""The bridge turns records of the operator's Kafka into records of Kounter's, and loses none.

Kounter's cluster acknowledges a batch before the group's offsets are committed at the operator's: at least once. A
record that is read twice gets the same ``ext_id`` and the same event id, which follow from its topic, partition and
offset (docs/contracts/rosdomofon.md#kafka), so that the fold drops the duplicate. Commits may therefore lag behind: a
commit after each batch would block the next one while the operator's cluster is unavailable.

The sender of a message becomes a record of its own only if it is new or has changed; otherwise each message would make
two records.
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
"""Shortest and longest pause between retries while Kounter's cluster is unavailable."""
REPORT_S: Final = 10.0
BATCH_S: Final = 0.05
"""Time between the beginnings of two batches: each costs Kounter's cluster a transaction of every lane. The first batch
after a pause does not wait."""
COMMIT_S: Final = 0.5
"""Time between two commits of the group's offsets; after a crash so much is read again."""
SEEN_S: Final = 3_600.0
"""Precision of an abonent's ``seen_at``."""
MOST_KNOWN: Final = 50_000
"""Cached abonents; beyond it the one who was silent the longest is dropped, and sent again with the next message."""

Bury = Callable[[ConsumerRecord, KounterError], Awaitable[Any]]
"""Writes an unreadable record to the dead letters; returns once the cluster has acknowledged it."""


class AbonentCache:
    """Cache of the abonents' records that were sent to Kounter's cluster."""

    def __init__(self) -> None:
        self._sent: dict[str, Abonent] = {}

    def is_news(self, abonent: Abonent) -> bool:
        """Return whether the abonent is new, has changed, or was not seen for an hour."""
        sent = self._sent.get(abonent.ext_id)
        if sent is None or (abonent.seen_at or 0) - (sent.seen_at or 0) > SEEN_S * 1e6:
            return True
        return sent._replace(seen_at=None) != abonent._replace(seen_at=None)

    def add(self, abonent: Abonent) -> None:
        """Note that the record was handed to the producer, which keeps the order of all that follows."""
        self._sent.pop(abonent.ext_id, None)
        self._sent[abonent.ext_id] = abonent
        if len(self._sent) > MOST_KNOWN:
            del self._sent[next(iter(self._sent))]

    def forget(self) -> None:
        """Empty the cache, as after a failure any of the records may not have been written."""
        self._sent.clear()


@dataclass
class BridgeStats:
    """Totals since the start."""

    messages: int = 0
    sign_ups: int = 0
    malformed: int = 0
    deleted: int = 0
    """Records that the operator's cluster had deleted before they were read, counted by offsets."""
    retried: int = 0
    """Failed attempts to produce a batch."""


class Bridge:
    """Forwards ``MESSAGES_IN_…`` and ``SIGN_UPS_…`` to ``domofon.message`` and ``domofon.sign-up``."""

    def __init__(
        self,
        settings: RosDomofonKafkaSettings,
        producer: RecordProducer,
        bury: Bury,
        came: Callable[[list[Message]], None] = lambda messages: None,
    ) -> None:
        """``came`` is called with messages that Kounter's cluster has acknowledged, before their offsets are committed.

        Raises BrokenSetup without companies or group.
        """
        self._reader = GroupReader(settings)
        self._producer, self._dead_letter, self._came = producer, bury, came
        self._abonents = AbonentCache()
        self._stopping = asyncio.Event()
        self.stats = BridgeStats()
        self.ready = asyncio.Event()
        """Set once the bridge has joined the group."""

    def stop(self) -> None:
        """Let `run` finish the current batch and return."""
        self._stopping.set()

    async def run(self) -> None:
        """Forward records until `stop`.

        Raises DeliveryUnavailable if the operator's cluster can't be reached at the start; later outages are waited
        out. Raises DeliveryDenied if the operator denies access.
        """
        reporter = asyncio.create_task(self._report())
        try:
            await self._reader.start()
            self.ready.set()
            due = 0.0
            while not self._stopping.is_set():
                if batch := await self._reader.batch(due):
                    due = time.monotonic() + BATCH_S
                    await self._forward(batch)
                await self._reader.commit(COMMIT_S)
                self.stats.deleted = self._reader.deleted
        finally:
            reporter.cancel()
            await self._reader.stop()
            logger.info("rosdomofon bridge ends: {}", asdict(self.stats))

    async def _forward(self, batch: Batch) -> None:
        """Produce a batch with retries until it is acknowledged or `stop` is called; then it will be read again."""
        # Records have no key: if a topic has several partitions, an abonent's messages are in all of them.
        records = list(heapq.merge(*batch.values(), key=lambda record: record.timestamp))
        wait = FIRST_WAIT_S
        while True:
            try:
                await self._produce(records)
                break
            except (KafkaError, OSError) as error:
                self.stats.retried += 1
                self._abonents.forget()
                logger.warning("rosdomofon bridge: Kounter's Kafka refuses a batch, retry in {} s: {!r}", wait, error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait)
                return
            wait = min(2 * wait, MOST_WAIT_S)
        self._reader.done(batch)

    async def _produce(self, records: list[ConsumerRecord]) -> None:
        """Produce all records in their order, and return when each is acknowledged."""
        sent: list[asyncio.Future[RecordMetadata]] = []
        rows: list[Any] = []
        bad: list[tuple[ConsumerRecord, KounterError]] = []
        try:
            for record in records:
                try:
                    row, abonent = rows_of(record)
                    if abonent is not None and self._abonents.is_news(abonent):
                        sent.append(await send(self._producer, record, abonent))
                        self._abonents.add(abonent)
                    sent.append(await send(self._producer, record, row))
                    rows.append(row)
                except (UndecodableRecord, InvalidInput) as error:
                    bad.append((record, error))
        finally:  # after a failure, too: a record still under way must not arrive after its own retry
            outcomes = await asyncio.gather(*sent, return_exceptions=True)
        if failed := next((o for o in outcomes if isinstance(o, BaseException)), None):
            raise failed
        for record, problem in bad:
            logger.warning("rosdomofon bridge: {}-{}@{}: {}", record.topic, record.partition, record.offset, problem)
            await self._dead_letter(record, problem)
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
