"""The delivery: takes commands from a topic to an outside system, in the order of each key.

The receipts, the dead letters and the offset of a partition are committed in ONE Kafka transaction, under a
transactional id of the partition: a new owner fences the former one before it reads the offset at which to go on. A
process may die between the answer of the outside system and that transaction; then the command is delivered again. The
ledger (`streams.delivery.ledger`) shows whether it was tried, and then the sink searches for its own id first.

A receipt goes to the partition of its command, where the lane that asked is: an outbox record stands in the partition
of the lane that wrote it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from aiokafka.errors import KafkaError
from loguru import logger

from schemas.codec.serde import Serde
from schemas.errors import KounterError
from streams.delivery.executor import CommandExecutor
from streams.delivery.job import DeliveryStats
from streams.delivery.session import PULSE_S, Session
from streams.delivery.settings import DeliverySettings
from streams.delivery.state import DeliveryStates
from streams.kafka import private_api
from streams.kafka.clients import quiet_fences
from streams.kafka.consumer import KafkaSilent
from streams.kafka.settings import KafkaSettings
from streams.kafka.topics import changelog_of, group_of
from streams.ports import Sink
from streams.resilience import CircuitBreaker, Suspended, Watchdog, backoff

REPORT_S: Final = 10.0
RESTART_FIRST_S, RESTART_MOST_S = 0.5, 15.0


class Delivery:
    """The delivery to one outside system, in a consumer group of its own; start at most one for each partition."""

    def __init__(
        self, kafka: KafkaSettings, serde: Serde, sink: Sink, settings: DeliverySettings, folder: Path, *,
        settles_s: float, group: str | None = None, shared: Callable[[float], None] | None = None,
        whose: Callable[[], Awaitable[None]] | None = None,
    ) -> None:  # fmt: skip
        """``folder`` holds local copies of the states; several processes may share it. ``settles_s`` is the longest
        time in seconds that the outside system works on a call, also on one that was given up. ``shared`` is called
        with our part of all partitions, from 0 to 1: limits that all processes share are divided by it, without
        coordination. ``whose`` raises BrokenSetup for a Kafka that is not ours: another's commands are not for our
        outside system.
        """
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
        """Set while partitions are ours."""

    @property
    def stats(self) -> DeliveryStats:
        """Returns the totals since the start."""
        return self.executor.stats

    def _check_ours(self) -> None:
        """Raise Suspended if another process may have our partitions; called before every call."""
        self.pulse.check()  # SIGSTOP, a frozen container
        self.membership.check()

    def stop(self) -> None:
        """Let `run` end the calls under way and return."""
        self._stopping.set()

    async def run(self) -> None:
        """Deliver until `stop`. After an error of Kafka it begins again at the committed offsets.

        Raises BrokenSetup, and KounterError for anything else that a new session would not cure.
        """
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
                except (KafkaError, KafkaSilent, Suspended, OSError, TimeoutError) as error:
                    failures = 0 if self.stats.transactions > done else failures + 1
                    wait = backoff(failures, RESTART_FIRST_S, RESTART_MOST_S)
                    cause = error if isinstance(error, KounterError) else repr(error)
                    logger.warning("{}: begins again in {:.1f} s: {}", self.group, wait, cause)
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
