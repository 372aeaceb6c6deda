"""The writer of the numbered log. Any number may run: one has the seat, the others stand by.

The seat is the log's one partition in the group's assignment. The changes are read by a consumer without a group, all
partitions by the one that has the seat, as an order over all needs one reader.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition
from loguru import logger

from schemas.backend import EVENTS
from schemas.codec.serde import Serde
from schemas.errors import KounterError, RegistryUnavailable
from streams.backend_log.tenure import LogStats, Tenure
from streams.backend_log.topics import GROUP, LOG
from streams.kafka.clients import check_group, quiet_fences
from streams.kafka.consumer import KafkaSilent
from streams.kafka.settings import KafkaSettings
from streams.resilience import backoff

SESSION_TIMEOUT_MS: Final = 6_000
NEVER_MS: Final = 10**12
"""The group's consumer never polls: the seat is all that it is for."""
LOOK_S: Final = 0.5
RESTART_FIRST_S, RESTART_MOST_S = 0.2, 10.0
REPORT_S: Final = 10.0


class LogWriter:
    """``folder``: for the local copy of the memory. ``wait_s``: seconds for which a change is held for what it refers
    to. ``whose`` raises BrokenSetup for a Kafka that is not ours."""

    def __init__(
        self, kafka: KafkaSettings, serde: Serde, folder: Path, *, wait_s: float,
        session_ms: int = SESSION_TIMEOUT_MS, whose: Callable[[], Awaitable[None]] | None = None,
    ) -> None:  # fmt: skip
        self._kafka, self._serde, self._folder, self._wait_s = kafka, serde, folder, wait_s
        self._session_ms, self._whose = session_ms, whose
        self.stats = LogStats()
        self.has_seat = False

    async def run(self) -> None:
        """Write while the seat is ours, until cancelled. Waits out an outage of the brokers. Raises BrokenSetup."""
        asyncio.get_running_loop().set_exception_handler(quiet_fences)
        reporter = asyncio.create_task(self._report())
        failures = 0
        try:
            while True:
                done = self.stats.transactions
                try:
                    await _Seat(self._kafka, self._session_ms, self._write).hold()
                except (KafkaError, KafkaSilent, RegistryUnavailable, OSError, TimeoutError) as error:
                    failures = 0 if self.stats.transactions > done else failures + 1
                    wait = backoff(failures, RESTART_FIRST_S, RESTART_MOST_S)
                    cause = error if isinstance(error, KounterError) else repr(error)
                    logger.warning("{}: begins again in {:.1f} s: {}", GROUP, wait, cause)
                    await asyncio.sleep(wait)
        finally:
            reporter.cancel()
            logger.info("{} ends: {}", GROUP, asdict(self.stats))

    async def _write(self) -> None:
        """One tenure."""
        if self._whose is not None:
            await self._whose()
        tenure = Tenure(self._kafka, self._serde, self._folder, wait_s=self._wait_s, stats=self.stats)
        try:
            await tenure.run(self._seated)
        finally:
            self.has_seat = False

    def _seated(self) -> None:
        self.has_seat = True
        logger.info("{}: the seat is ours, the last number is {}", GROUP, self.stats.last)

    async def _report(self) -> None:
        before: dict[str, Any] = {}
        while True:
            await asyncio.sleep(REPORT_S)
            now = asdict(self.stats) | {"oldest_s": 0}
            if self.has_seat and now != before:
                logger.info("{}: {}", GROUP, asdict(self.stats))
            before = now


class _Seat(ConsumerRebalanceListener):  # type: ignore[misc]
    """A member of the group, which works while the log's partition is assigned to it."""

    def __init__(self, kafka: KafkaSettings, session_ms: int, work: Callable[[], Awaitable[None]]) -> None:
        self._work = work
        self._working: asyncio.Future[None] | None = None
        self._consumer = AIOKafkaConsumer(
            **kafka.client_options(),
            group_id=GROUP,
            enable_auto_commit=False,
            auto_offset_reset="latest",
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=session_ms // 4,
            max_poll_interval_ms=NEVER_MS,
        )
        self._consumer.subscribe([EVENTS], listener=self)

    async def hold(self) -> None:
        """Returns never; raises what broke the work or the membership."""
        try:
            await self._consumer.start()
            while True:
                check_group(self._consumer)
                if self._working is None:
                    await asyncio.sleep(LOOK_S)
                    continue
                working = self._working
                await asyncio.wait({working}, timeout=LOOK_S)
                if working.done() and not working.cancelled():
                    working.result()
        finally:
            await self._give_up()
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                await asyncio.wait_for(self._consumer.stop(), 10)

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Called before another member can have the seat."""
        await self._give_up()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Begins beside this call: aiokafka sends no heartbeats while it lasts."""
        if LOG in assigned:
            self._consumer.pause(LOG)
            self._working = asyncio.ensure_future(self._work())

    async def _give_up(self) -> None:
        working, self._working = self._working, None
        if working is not None:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
