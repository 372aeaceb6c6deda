"""Reads the operator's topics as a member of the group that it issued, for the small client and for the bridge."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError, TopicAuthorizationFailedError
from aiokafka.structs import ConsumerRecord, TopicPartition
from loguru import logger

from adapters.rosdomofon.kafka.errors import failed
from adapters.rosdomofon.settings import RosDomofonKafkaSettings
from schemas.errors import BrokenSetup, DeliveryDenied
from streams.kafka.batches.unpacking import stand
from streams.kafka.deleted_records import deleted

POLL_MS: Final = 200
MOST_AT_ONCE: Final = 500
DENIED_S: Final = 60.0
"""Pause before a topic whose reading was denied is tried again."""
ERROR_WAIT_S: Final = 0.2
"""Pause after an error before the next read."""
FETCH_WAIT_MS: Final = 50
"""Longest time that the brokers hold a fetch while there is no record."""

Batch = Mapping[TopicPartition, Sequence[ConsumerRecord]]


class GroupReader:
    """Reads batches of records from the group's committed offsets, and commits the `done` ones.

    Raises BrokenSetup if companies or group are missing.
    """

    def __init__(self, settings: RosDomofonKafkaSettings) -> None:
        self._settings, self._topics = settings, settings.topics_in()
        if not self._topics or not settings.group_id:
            raise BrokenSetup("RosDomofon's Kafka needs companies and a group", hint="Set companies and group_id.")
        self._consumer: Any = None
        self._done: dict[TopicPartition, int] = {}
        """Offsets to continue at that are not committed yet."""
        self._committed_at = 0.0
        self._denied: set[TopicPartition] = set()
        """Paused partitions whose reading was denied, while those of other companies are read."""
        self._retry_at = 0.0

    async def start(self) -> None:
        """Join the group. Raises DeliveryUnavailable or DeliveryDenied."""
        settings = self._settings
        consumer = AIOKafkaConsumer(
            *self._topics,
            **settings.client_options(),
            group_id=settings.group_id,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        stand(consumer)
        try:
            await consumer.start()
        except KafkaError as error:
            await consumer.stop()
            raise failed("reading", error) from error
        except BaseException:
            await consumer.stop()
            raise
        self._consumer = consumer
        logger.info("rosdomofon kafka: reading {} as group {}", ", ".join(self._topics), settings.group_id)

    async def batch(self, until: float = 0.0) -> Batch:
        """Return the records that have come, perhaps none; temporary errors are logged. Raises DeliveryDenied.

        ``until``: time on the monotonic clock until which more records are collected. They are taken as they come:
        aiokafka fetches nothing of a partition while fetched records of it are not taken.
        """
        fetched: dict[TopicPartition, list[ConsumerRecord]] = {}
        wait_ms = POLL_MS
        if self._denied and time.monotonic() > self._retry_at:
            self._consumer.resume(*self._denied & self._consumer.assignment())
            self._denied = set()
        with _logged():
            while True:
                try:
                    more = await self._consumer.getmany(timeout_ms=wait_ms, max_records=MOST_AT_ONCE)
                except TopicAuthorizationFailedError as error:
                    self._pause(error)
                    break
                for tp, records in more.items():
                    fetched.setdefault(tp, []).extend(records)
                wait_ms = int((until - time.monotonic()) * 1_000)
                if wait_ms <= 0 or sum(map(len, fetched.values())) >= MOST_AT_ONCE:
                    return fetched
        if not fetched:  # records that were taken before the error are returned, as they would not come again
            await asyncio.sleep(ERROR_WAIT_S)
        return fetched

    def _pause(self, error: TopicAuthorizationFailedError) -> None:
        """Pause a company's topic that must not be read, unless no other topic is left. Raises ``error`` then."""
        assigned = self._consumer.assignment()
        denied = {tp for tp in assigned if tp.topic in map(str, error.args)}
        self._denied |= denied
        if not denied or not assigned - self._denied:
            raise error
        self._consumer.pause(*denied)
        self._retry_at = time.monotonic() + DENIED_S
        topics = ", ".join(sorted({tp.topic for tp in denied}))
        logger.critical(
            "rosdomofon kafka: reading {} is denied, retry in {:.0f} s; the other topics are read", topics, DENIED_S
        )

    def done(self, batch: Batch) -> None:
        """Mark the records of a batch as handled; the next `commit` commits their offsets."""
        self._done.update({partition: records[-1].offset + 1 for partition, records in batch.items()})

    async def commit(self, every_s: float = 0.0) -> None:
        """Commit the offsets of handled records, unless the last commit was less than ``every_s`` ago.

        A commit that fails is made up by the next one, or the records come again to the partition's next owner. Raises
        DeliveryDenied.
        """
        now = time.monotonic()
        if not self._done or now - self._committed_at < every_s:
            return
        assigned = self._consumer.assignment()
        done, self._done, self._committed_at = {tp: at for tp, at in self._done.items() if tp in assigned}, {}, now
        if done:
            with _logged():
                await self._consumer.commit(done)

    @property
    def deleted(self) -> int:
        """Number of records that the operator's cluster had deleted before they were read."""
        return 0 if self._consumer is None else deleted(self._consumer)

    async def stop(self) -> None:
        """Commit the handled records if possible, and leave the group."""
        if self._consumer is None:
            return
        try:
            with contextlib.suppress(DeliveryDenied):
                await self.commit()
        finally:
            await self._consumer.stop()
        logger.info("rosdomofon kafka: reading has stopped")


@contextlib.contextmanager
def _logged() -> Iterator[None]:
    """Logs errors of the cluster, and raises only DeliveryDenied, which no retry fixes."""
    try:
        yield
    except (CommitFailedError, IllegalStateError) as error:
        logger.debug("rosdomofon kafka: another member of the group has the partition now ({})", type(error).__name__)
    except KafkaError as error:
        problem = failed("reading", error)
        logger.error("rosdomofon kafka: {}", problem)
        if isinstance(problem, DeliveryDenied):
            raise problem from error
