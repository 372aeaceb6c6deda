"""Reads the operator's topics for the one group that it issued, as the small class and the bridge both do."""

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
"""Between looks at a topic that we may not read."""
TROUBLE_WAIT_S: Final = 0.2
FETCH_WAIT_MS: Final = 50
"""The brokers answer at once when there is a record; so long they wait for one."""

Batch = Mapping[TopicPartition, Sequence[ConsumerRecord]]


class GroupReader:
    """Batches of records, from where the group was; what is `done` is not read again.

    Raises BrokenSetup if companies or group are missing.
    """

    def __init__(self, settings: RosDomofonKafkaSettings) -> None:
        self._settings, self._topics = settings, settings.topics_in()
        if not self._topics or not settings.group_id:
            raise BrokenSetup("RosDomofon's Kafka needs companies and a group", hint="Set companies and group_id.")
        self._consumer: Any = None
        self._done: dict[TopicPartition, int] = {}
        """Where to go on, not committed yet."""
        self._committed = 0.0
        self._denied: set[TopicPartition] = set()
        """Of one company, while others' are read; until it is time to look whether they may be."""
        self._look_at = 0.0

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
        """What has come, which may be nothing; trouble is waited out. Raises DeliveryDenied.

        ``until``: by the monotonic clock, more is waited for. It is taken as it comes: aiokafka fetches no more of a
        partition while something of it was not taken, and what came later would wait twice.
        """
        fetched: dict[TopicPartition, list[ConsumerRecord]] = {}
        wait_ms = POLL_MS
        if self._denied and time.monotonic() > self._look_at:
            self._consumer.resume(*self._denied & self._consumer.assignment())
            self._denied = set()
        with _logged():
            while True:
                try:
                    more = await self._consumer.getmany(timeout_ms=wait_ms, max_records=MOST_AT_ONCE)
                except TopicAuthorizationFailedError as error:
                    self._put_aside(error)
                    break
                for tp, records in more.items():
                    fetched.setdefault(tp, []).extend(records)
                wait_ms = int((until - time.monotonic()) * 1_000)
                if wait_ms <= 0 or sum(map(len, fetched.values())) >= MOST_AT_ONCE:
                    return fetched
        if not fetched:  # what was taken before the trouble would not come again
            await asyncio.sleep(TROUBLE_WAIT_S)
        return fetched

    def _put_aside(self, error: TopicAuthorizationFailedError) -> None:
        """A company's topic, for a while, unless nothing else is left to read."""
        mine = self._consumer.assignment()
        denied = {tp for tp in mine if tp.topic in map(str, error.args)}
        self._denied |= denied
        if not denied or not mine - self._denied:
            raise error
        self._consumer.pause(*denied)
        self._look_at = time.monotonic() + DENIED_S
        named = ", ".join(sorted({tp.topic for tp in denied}))
        logger.critical("rosdomofon kafka: we may not read {}, the others go on; again in {:.0f} s", named, DENIED_S)

    def done(self, batch: Batch) -> None:
        """These are handled, which is noted with the next `commit`."""
        self._done.update({partition: records[-1].offset + 1 for partition, records in batch.items()})

    async def commit(self, every_s: float = 0.0) -> None:
        """Note what is done, unless that was less than ``every_s`` ago. Raises DeliveryDenied.

        If it can't be noted it is with the next ones, or they come again to whoever has the partition then.
        """
        now = time.monotonic()
        if not self._done or now - self._committed < every_s:
            return
        mine = self._consumer.assignment()
        done, self._done, self._committed = {tp: at for tp, at in self._done.items() if tp in mine}, {}, now
        if done:
            with _logged():
                await self._consumer.commit(done)

    @property
    def deleted(self) -> int:
        """Records that were gone before they were read: the operator keeps them for a while only."""
        return 0 if self._consumer is None else deleted(self._consumer)

    async def stop(self) -> None:
        """Note what is done, if that can be, and leave the group."""
        if self._consumer is None:
            return
        try:
            with contextlib.suppress(DeliveryDenied):
                await self.commit()
        finally:
            await self._consumer.stop()
        logger.info("rosdomofon kafka: reading has ended")


@contextlib.contextmanager
def _logged() -> Iterator[None]:
    """Lets through only what no waiting mends."""
    try:
        yield
    except (CommitFailedError, IllegalStateError) as error:
        logger.debug("rosdomofon kafka: somebody else has the partition now ({})", type(error).__name__)
    except KafkaError as error:
        problem = failed("reading", error)
        logger.error("rosdomofon kafka: {}", problem)
        if isinstance(problem, DeliveryDenied):
            raise problem from error
