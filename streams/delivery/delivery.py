"""The delivery: takes commands from a topic to an outside system, in the order of each key.

Per partition the receipts, the dead letters and the position go in ONE Kafka transaction, under a transactional id of
the partition: who takes a partition over fences its former owner before it reads where to go on. Between the outside's
answer and that transaction a process may die; then the command is delivered again. The ledger
(`streams.delivery.ledger`) says whether it was tried, and then the sink looks for its own id first.

A receipt goes to the partition of its command, as there is the lane that asked: an outbox record stands in the
partition of the lane that wrote it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition
from loguru import logger

from schemas.codec.serde import Serde
from schemas.errors import KounterError
from streams.delivery.executor import CommandExecutor
from streams.delivery.job import DeliveryStats
from streams.delivery.offset_tracker import find_trackers
from streams.delivery.partition import PartitionDelivery
from streams.delivery.settings import DeliverySettings
from streams.delivery.state import DeliveryStates
from streams.kafka import private_api
from streams.kafka.batches.unpacking import stand
from streams.kafka.clients import check_group, hear_heartbeats, quiet_fences
from streams.kafka.deleted_records import deleted
from streams.kafka.settings import KafkaSettings
from streams.kafka.topics import changelog_of, group_of
from streams.kafka.transactions import TransactionalWriter
from streams.ports import Sink
from streams.resilience import CircuitBreaker, Suspended, Watchdog, backoff

MOST_SPAN: Final = 8_000
"""Offsets that a partition may be ahead of a command that is not done: what a committed offset's metadata can note."""
SESSION_TIMEOUT_MS: Final = 10_000
PULSE_S: Final = SESSION_TIMEOUT_MS / 1_000 * 0.8
NEVER_MS: Final = 10**12
"""A consumer that left its group for this would come back with its next poll only: a standby never polls."""
POLL_MS: Final = 200
IDLE_S: Final = 1.0
"""Between looks at whether only commit markers are left."""
REPORT_S: Final = 10.0
RESTART_FIRST_S, RESTART_MOST_S = 0.5, 15.0


class Delivery:
    """Of one outside system, in a consumer group of its own; start it as often as there are partitions."""

    def __init__(
        self, kafka: KafkaSettings, serde: Serde, sink: Sink, settings: DeliverySettings, folder: Path, *,
        settles_s: float, group: str | None = None, shared: Callable[[float], None] | None = None,
        whose: Callable[[], Awaitable[None]] | None = None,
    ) -> None:  # fmt: skip
        """``folder``: for local copies of what is remembered; several processes may share it. ``settles_s``: the most
        that the outside works on a call, the caller being there or not. ``shared`` is told which part of all partitions
        came to us: limits that all processes share are kept by that, and nobody need coordinate them. ``whose`` raises
        BrokenSetup for a Kafka that is not ours: another's commands are not for our outside system."""
        self._kafka, self.settings = kafka, settings
        self.group = group or group_of(sink.name)
        self.topic, self.shared, self.whose = sink.topic, shared, whose
        self.states = DeliveryStates(kafka, changelog_of(self.group), folder / self.group)
        self.pulse, self.membership = Watchdog(PULSE_S), Watchdog(PULSE_S)
        self.executor = CommandExecutor(
            sink,
            serde,
            CircuitBreaker(sink.name, settings.circuit_failures, settings.circuit_first_s, settings.parallel),
            waits=settings.waits_s,
            settles_s=settles_s,
            allowed=self._check_ours,
        )
        self._stopping = asyncio.Event()
        self.ready = asyncio.Event()
        """Partitions are ours."""

    @property
    def stats(self) -> DeliveryStats:
        return self.executor.stats

    def _check_ours(self) -> None:
        """Before every call: not when another may make it. Raises Suspended."""
        self.pulse.check()  # SIGSTOP, a frozen container
        self.membership.check()

    def stop(self) -> None:
        """Let `run` end what is under way and return."""
        self._stopping.set()

    async def run(self) -> None:
        """Deliver until `stop`. Whatever Kafka does to it, it begins anew from what is committed."""
        private_api.verify()
        asyncio.get_running_loop().set_exception_handler(quiet_fences)
        reporter = asyncio.create_task(self._report())
        failures = 0
        try:
            while not self._stopping.is_set():
                done = self.stats.transactions
                session = Session(self, self._kafka)
                try:
                    await session.run(self._stopping)
                except (KafkaError, Suspended, OSError, TimeoutError) as error:
                    failures = 0 if self.stats.transactions > done else failures + 1
                    wait = backoff(failures, RESTART_FIRST_S, RESTART_MOST_S)
                    cause = error if isinstance(error, KounterError) else repr(error)
                    logger.warning("{}: begins anew in {:.1f} s: {}", self.group, wait, cause)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), wait)
        finally:
            reporter.cancel()
            logger.info("{} ends: {}", self.group, asdict(self.stats))

    async def _report(self) -> None:
        before: dict[str, Any] = {}
        while True:
            await asyncio.sleep(REPORT_S)
            now = asdict(self.stats)
            if now != before:
                logger.info("{}: {}, circuit {}", self.group, now, self.executor.circuit.state)
            before = now


class Session(ConsumerRebalanceListener):  # type: ignore[misc]
    """One consumer's life: from joining the group to leaving it, or to the first error."""

    def __init__(self, delivery: Delivery, kafka: KafkaSettings) -> None:
        self._delivery, self._kafka = delivery, kafka
        self._ours: dict[TopicPartition, PartitionDelivery] = {}
        self._opening: asyncio.Task[None] | None = None
        self._giving_up, self._ending = asyncio.Lock(), False
        """A session may end in the middle of a rebalance."""
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wake = asyncio.Event()
        """A job was done, or partitions came."""
        self._looked = 0.0
        self._passed_over = 0
        """Records that this consumer has found deleted."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Returns when told to stop; raises what broke it."""
        delivery = self._delivery
        delivery.stats.sessions += 1
        self._consumer = AIOKafkaConsumer(
            **self._kafka.client_options(),
            group_id=delivery.group,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
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
            loop = asyncio.create_task(self._loop())
            try:
                waited: set[asyncio.Future[Any]] = {loop, ended, self._failed}
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            finally:
                loop.cancel()
                await asyncio.gather(loop, return_exceptions=True)
            if self._failed.done():
                self._failed.result()
            if not loop.cancelled():
                loop.result()
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
                await asyncio.wait_for(client(), 10)
        if self._failed.done() and not self._failed.cancelled():
            self._failed.exception()

    def _heard(self) -> None:
        """The group counts us in. Cut off from Kafka alone, an older command could be tried once more, long after
        whoever has the partition now carried out a newer one."""
        self._delivery.membership = Watchdog(PULSE_S, "the group was not heard of")

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Called before others can have them: what is under way may end."""
        await self._give_up(self._delivery.settings.drain_s)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Opened beside this call: aiokafka sends no heartbeats while it lasts."""
        self._heard()
        if self._ending:
            return
        self._opening = asyncio.create_task(self._open(sorted(assigned)))

    async def _open(self, assigned: list[TopicPartition]) -> None:
        """Fence the former owners, BEFORE it is read where to go on."""
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
            await asyncio.gather(*(delivering.close(grace_s) for delivering in ours))
            self._delivery.stats.in_flight = 0
            self._delivery.states.close()

    def _fail(self, error: BaseException) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)

    async def _loop(self) -> None:
        """Read as long as there is room: what is not read stays in Kafka."""
        delivery = self._delivery
        while True:
            delivery.pulse.beat()
            await self._pass_markers()
            in_flight = self._count()
            room = delivery.settings.in_flight - in_flight
            wanted = [tp for tp, c in self._ours.items() if c.tracker.span < MOST_SPAN] if room > 0 else []
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

    def _count(self) -> int:
        """What is of now in the statistics. Returns how many records are in memory."""
        stats, ours = self._delivery.stats, self._ours.values()
        stats.in_flight = sum(len(c) for c in ours)
        passed_over, self._passed_over = self._passed_over, deleted(self._consumer)
        stats.deleted += self._passed_over - passed_over
        stats.parked, stats.parked_keys = sum(c.parking.records for c in ours), sum(c.parking.keys for c in ours)
        return stats.in_flight

    async def _pass_markers(self) -> None:
        """Commit markers and aborted records are never read: the position passes them when nothing else waits."""
        now = asyncio.get_running_loop().time()
        if now - self._looked < IDLE_S:
            return
        self._looked = now
        for tp, delivering in list(self._ours.items()):
            if not len(delivering) and self._ours.get(tp) is delivering:
                delivering.skip_to(await self._consumer.position(tp))
