"""A session of a delivery: the life of one consumer, from joining the group to leaving it, or to the first error."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from aiokafka import ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord, TopicPartition
from loguru import logger

from schemas.parking import ParkedOrder
from streams.delivery.executor import CommandExecutor
from streams.delivery.job import DeliveryStats
from streams.delivery.offset_tracker import find_trackers
from streams.delivery.order_watch import OrderWatch
from streams.delivery.partition import PartitionDelivery
from streams.delivery.settings import DeliverySettings
from streams.delivery.state import DeliveryStates
from streams.kafka.batches.unpacking import stand
from streams.kafka.clients import check_group, hear_heartbeats
from streams.kafka.consumer import committed_consumer
from streams.kafka.deleted_records import deleted
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import TransactionalWriter
from streams.resilience import Watchdog

MOST_SPAN: Final = 8_000
"""Offsets that a partition may be ahead of a command that is not done: the metadata of a committed offset can note so
many.
"""
SESSION_TIMEOUT_MS: Final = 10_000
PULSE_S: Final = SESSION_TIMEOUT_MS / 1_000 * 0.8
NEVER_MS: Final = 10**12
"""Longest time between polls: a consumer that leaves its group for this comes back with its next poll only, and a
standby never polls.
"""
POLL_MS: Final = 200
IDLE_S: Final = 1.0
"""Seconds between checks whether only commit markers are left."""
LEAVE_S: Final = 10.0
"""Seconds that a client gets to close."""


class Owner(Protocol):
    """The parts of a delivery that outlive a session."""

    group: str
    topic: str
    settings: DeliverySettings
    states: DeliveryStates
    executor: CommandExecutor
    ready: asyncio.Event
    """Set while partitions are ours."""
    pulse: Watchdog
    """Notices that the process stood still."""
    membership: Watchdog
    """Notices that the group did not answer."""
    shared: Callable[[float], None] | None
    whose: Callable[[], Awaitable[None]] | None

    @property
    def stats(self) -> DeliveryStats:
        """Returns the totals since the start."""


class Session(ConsumerRebalanceListener):  # type: ignore[misc]
    """One consumer's life: from joining the group to leaving it, or to the first error."""

    def __init__(self, delivery: Owner, kafka: KafkaSettings) -> None:
        self._delivery, self._kafka = delivery, kafka
        self._ours: dict[TopicPartition, PartitionDelivery] = {}
        self._opening: asyncio.Task[None] | None = None
        self._giving_up, self._ending = asyncio.Lock(), False
        """A session may end in the middle of a rebalance."""
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wake = asyncio.Event()
        """Set when a job is done, or partitions came."""
        self._looked = 0.0
        self._passed_over = 0
        """Records that this consumer has found deleted."""
        self._watch = OrderWatch(kafka, delivery.executor.decode, self._park)

    async def run(self, stopping: asyncio.Event) -> None:
        """Run until ``stopping`` is set. Raises the error that broke the session."""
        delivery = self._delivery
        delivery.stats.sessions += 1
        self._consumer = committed_consumer(
            self._kafka,
            group_id=delivery.group,
            fetch_max_wait_ms=500,  # it reads on and on: a broker that answers "nothing" more often costs CPU
            session_timeout_ms=SESSION_TIMEOUT_MS,
            rebalance_timeout_ms=int(delivery.settings.drain_s * 1_000) + 25_000,  # drain, last commit, writers
            max_poll_interval_ms=NEVER_MS,  # not polling is how we hold back, the pulse is how we notice a stop
        )
        stand(self._consumer)
        self._admin = AIOKafkaAdminClient(**self._kafka.client_options(), request_timeout_ms=15_000)
        self._consumer.subscribe([delivery.topic], listener=self)
        ended = asyncio.ensure_future(stopping.wait())
        try:
            await self._admin.start()
            await self._consumer.start()
            delivery.pulse = Watchdog(PULSE_S)  # only now: joining took as long as others drained
            hear_heartbeats(self._consumer, self._heard)
            work = [asyncio.create_task(self._loop()), asyncio.create_task(self._watch.run())]
            try:
                waited: set[asyncio.Future[Any]] = {*work, ended, self._failed}
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in work:
                    task.cancel()
                await asyncio.gather(*work, return_exceptions=True)
            if self._failed.done():
                self._failed.result()
            for task in work:
                if not task.cancelled():
                    task.result()
        finally:
            ended.cancel()
            await self._end()

    async def _end(self) -> None:
        """Give up the partitions, in good order if nothing is broken, and leave the group."""
        self._ending = True
        broken = self._failed.done()
        self._failed.cancel()
        await self._give_up(None if broken else self._delivery.settings.drain_s)
        for client in (self._consumer.stop, self._admin.close):
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                await asyncio.wait_for(client(), LEAVE_S)
        if self._failed.done() and not self._failed.cancelled():
            self._failed.exception()

    def _heard(self) -> None:
        """Note that the group counts this member in. A member that is cut off from Kafka alone could try an older
        command again, long after the new owner of the partition has carried out a newer one.
        """
        self._delivery.membership = Watchdog(PULSE_S, "no answer came from the group")

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Give up all partitions before others can have them: calls under way may end."""
        await self._give_up(self._delivery.settings.drain_s)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Open the partitions in a task of their own: aiokafka sends no heartbeats until this returns."""
        self._heard()
        if self._ending:
            return
        self._opening = asyncio.create_task(self._open(sorted(assigned)))

    async def _open(self, assigned: list[TopicPartition]) -> None:
        """Fence the former owners BEFORE the offsets are read at which to go on."""
        try:
            delivery = self._delivery
            if delivery.whose is not None:
                await delivery.whose()
            writers = [TransactionalWriter(self._kafka, delivery.group, tp.partition) for tp in assigned]
            try:
                started = await asyncio.gather(*(writer.start() for writer in writers), return_exceptions=True)
                if broken := next((outcome for outcome in started if outcome is not None), None):
                    raise broken  # now that none is still starting, which would fence the next session's
                states = await delivery.states.open([tp.partition for tp in assigned])
                known = [tp for tp in assigned if not states[tp.partition].is_blank()]
                found, ends = await find_trackers(self._admin, self._consumer, delivery.group, assigned, known)
            except BaseException:
                await asyncio.gather(*(writer.stop() for writer in writers))
                raise
            if assigned and delivery.shared is not None:
                delivery.shared(len(assigned) / len(self._consumer.partitions_for_topic(delivery.topic)))
            for tp, writer in zip(assigned, writers, strict=True):
                self._consumer.seek(tp, found[tp].next)
                delivery.stats.deleted += found[tp].deleted
                self._ours[tp] = PartitionDelivery(
                    tp, found[tp], ends[tp], states[tp.partition], delivery.executor, writer, self._fail,
                    self._wake.set,
                )  # fmt: skip
            logger.info("{}: partitions {} are ours", delivery.group, [tp.partition for tp in assigned])
            delivery.ready.set()
            self._wake.set()
        except Exception as error:
            self._fail(error)

    async def _give_up(self, grace_s: float | None) -> None:
        self._delivery.ready.clear()
        async with self._giving_up:
            if self._opening is not None:
                self._opening.cancel()
                await asyncio.gather(self._opening, return_exceptions=True)
            ours, self._ours = list(self._ours.values()), {}
            self._watch.forget()
            await asyncio.gather(*(delivering.close(grace_s) for delivering in ours))
            self._delivery.stats.in_flight = 0
            self._delivery.states.close()

    def _fail(self, error: BaseException) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)

    def _park(self, record: ConsumerRecord, order: ParkedOrder) -> None:
        if (delivering := self._ours.get(TopicPartition(record.topic, record.partition))) is not None:
            delivering.park(record, order)

    async def _loop(self) -> None:
        """Read as long as there is room: unread commands stay in Kafka."""
        delivery = self._delivery
        while True:
            delivery.pulse.beat()
            await self._pass_markers()
            in_flight = self._count()
            room = delivery.settings.in_flight - in_flight
            wanted = [tp for tp, c in self._ours.items() if c.tracker.span < MOST_SPAN] if room > 0 else []
            stalled = {tp: c.tracker.next for tp, c in self._ours.items() if c.tracker.stalled}
            self._watch.hold({tp: at for tp, at in stalled.items() if tp not in wanted})
            if not wanted:
                check_group(self._consumer)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_MS / 1_000):  # `wait_for` may swallow the order to end (3.11)
                        await self._wake.wait()
                self._wake.clear()
                continue
            fetched = await self._consumer.getmany(*wanted, timeout_ms=POLL_MS, max_records=room)
            for tp, records in fetched.items():
                if (delivering := self._ours.get(tp)) is not None:
                    delivering.take(records)
                    self._watch.look_at(records)

    def _count(self) -> int:
        """Update the current values in the statistics. Returns how many records are in memory."""
        stats, ours = self._delivery.stats, self._ours.values()
        stats.in_flight = sum(len(c) for c in ours)
        passed_over, self._passed_over = self._passed_over, deleted(self._consumer)
        stats.deleted += self._passed_over - passed_over
        stats.parked, stats.parked_keys = sum(c.parking.records for c in ours), sum(c.parking.keys for c in ours)
        return stats.in_flight

    async def _pass_markers(self) -> None:
        """Move the position past commit markers and aborted records, which are never read, if nothing else waits."""
        now = asyncio.get_running_loop().time()
        if now - self._looked < IDLE_S:
            return
        self._looked = now
        for tp, delivering in list(self._ours.items()):
            if not len(delivering) and self._ours.get(tp) is delivering:
                delivering.skip_to(await self._consumer.position(tp))
