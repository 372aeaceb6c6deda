"""All lanes of a worker: created and fenced at every rebalance."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition
from faust.types import TP
from loguru import logger

from schemas.codec.serde import Serde
from schemas.errors import EXIT_BROKEN_SETUP, BrokenSetup
from streams.aggregate import Domain
from streams.kafka.idempotent import ClockWrong
from streams.kafka.offsets import StatesDeleted, check_begin
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import AcknowledgedWriter, TransactionalWriter, Writer
from streams.lane.batch_message import BatchMessage
from streams.lane.lane import Lane
from streams.lane.processor import BatchProcessor
from streams.lane.settings import LaneSettings
from streams.lane.sources import Sources
from tables.store import Stores, is_broken

EXIT_LANE_FAILED: Final = 70
DRAIN_S: Final = 8.0
COMMIT_EVERY_S: Final = 2.0


class Lanes:
    """The lanes that this worker owns, and their stores."""

    def __init__(
        self, app: Any, domain: Domain, serde: Serde, kafka: KafkaSettings, settings: LaneSettings, root: Path
    ) -> None:
        if settings.guarantee == "at_least_once" and any(a.decide for a in domain.aggregates):
            raise BrokenSetup(
                f"domain {domain.name} decides commands, which at_least_once could do twice",
                hint="Set KOUNTER_LANE__GUARANTEE=exactly_once.",
            )
        self._app, self.domain, self.settings, self._kafka = app, domain, settings, kafka
        self.processor = BatchProcessor(domain, serde, kafka.partitions, settings.max_state_bytes)
        self.stores = Stores(root)
        self.sources = Sources(app, domain, settings.guarantee, self.stores, self.processor.stats)
        self.whose: Callable[[], Awaitable[None]] | None = None
        """Raises BrokenSetup for a Kafka that is not ours."""
        self.on_progress: Callable[[int], None] = lambda records: None
        """Called with the number of records of each committed transaction; set it before the first rebalance."""
        self._lanes: dict[int, Lane] = {}

    async def submit(self, message: BatchMessage) -> None:
        """Pass a batch from the agent to its lane. A batch of a partition that is not ours is dropped: its owner reads
        it.
        """
        lane = self._lanes.get(message.partition)
        if lane is not None:
            await lane.put(message)

    async def drain(self) -> None:
        """Let transactions in flight end, before partitions are given up."""
        try:
            await asyncio.wait_for(asyncio.gather(*(lane.drain() for lane in self._lanes.values())), DRAIN_S)
        except TimeoutError:
            logger.warning("transactions in flight did not end within {} s; they will be fenced", DRAIN_S)
        await self.sources.commit_now()

    async def stop(self) -> None:
        """Drain and close all lanes before the process ends: no open transaction is left that others would have to wait
        for.
        """
        await self.drain()
        lanes, self._lanes = list(self._lanes.values()), {}
        await asyncio.gather(*(lane.close() for lane in lanes))

    async def on_rebalance(self, assigned: set[TP], generation: int) -> None:
        """Fence every partition that is ours now, new or not, BEFORE any committed offset is read: a former owner may
        have a transaction in flight. The owner of the changelog's partition has the lane: see `Domain.changelog`.
        """
        self._check_partitions(assigned)
        await self._check_whose()
        started = time.monotonic()
        old, self._lanes = list(self._lanes.values()), {}
        await asyncio.gather(*(lane.close() for lane in old))
        self.sources.end_generation()
        self._end_recovery()
        changelog = self.domain.changelog
        held = {tp.partition for tp in assigned if tp.topic == changelog}
        own = sorted(tp.partition for tp in self._app.assignor.assigned_actives() if tp.topic == changelog)
        self.stores.keep(held)
        writers = {partition: self._writer(partition) for partition in own}
        await asyncio.gather(*(writer.start() for writer in writers.values()))
        changelogs = [TP(changelog, partition) for partition in sorted(held)]
        ends = await self._app.consumer.highwaters(*changelogs)
        self.stores.drop_ahead({tp.partition: end for tp, end in ends.items() if end is not None})
        begins = await self._app.consumer.earliest_offsets(*changelogs)
        self.stores.begins = {tp.partition: begin for tp, begin in begins.items() if begin is not None}
        self._check_begins(ends)
        self.sources.partitions = own
        self._lanes = {partition: self._lane(partition, writer) for partition, writer in writers.items()}
        logger.info(
            "generation {}: partitions {} are ours, standby for {}, fenced in {:.2f} s",
            generation, own, sorted(held - set(own)), time.monotonic() - started,
        )  # fmt: skip

    def _lane(self, partition: int, writer: Writer) -> Lane:
        store = self.stores[partition]
        return Lane(
            partition, writer, store, self.processor, self.sources, self.settings, self.domain.changelog,
            on_progress=self.on_progress, on_failure=self.fail,
        )  # fmt: skip

    async def _check_whose(self) -> None:
        """Check the identity of the cluster before its content, or lack of it, has any effect."""
        if self.whose is None:
            return
        try:
            await self.whose()
        except BrokenSetup as error:
            self.fail(None, error)
        except (KafkaError, OSError, TimeoutError) as error:
            logger.debug("the id of the Kafka cluster can't be read now: {!r}", error)

    def _end_recovery(self) -> None:
        """Drop records that wait to be recovered, while their copies are open. Faust would leave them in the queue: if
        a partition is given up and comes back, a new copy would begin in the middle of its changelog.
        """
        tables = self._app.tables
        tables.recovery.flush_buffers()
        tables.changelog_queue.clear()

    def _check_partitions(self, assigned: set[TP]) -> None:
        """Fail if a topic has more partitions than all others: it is assigned apart from them, and most of its records
        would go to workers that do not have their lane.
        """
        ours = {self.domain.changelog, *self.domain.sources}
        for tp in assigned:
            if tp.topic in ours and tp.partition >= self._kafka.partitions:
                error = BrokenSetup(
                    f"topic {tp.topic} has a partition {tp.partition}, {self._kafka.partitions} partitions are set",
                    hint="All topics of a domain need as many: create it again, or give all others as many.",
                )
                self.fail(tp.partition, error)

    def _check_begins(self, ends: Mapping[TP, int | None]) -> None:
        """Fail for a copy that would begin in the middle of its changelog: it would lack states."""
        for tp, end in ends.items():
            begin, offset = self.stores.begins.get(tp.partition, 0), self.stores[tp.partition].offset
            try:
                check_begin(self._kafka, TopicPartition(*tp), 0 if offset is None else offset + 1, begin, end or 0)
            except StatesDeleted as error:
                self.fail(tp.partition, error)

    def _writer(self, partition: int) -> Writer:
        if self.settings.guarantee == "at_least_once":
            return AcknowledgedWriter(self._kafka, partition)
        return TransactionalWriter(self._kafka, self._app.conf.id, partition)

    def fail(self, partition: int | None, error: BaseException) -> None:
        """End the process. An app that only crashed would go on acknowledging: the next batch would commit past the
        hole. The supervisor starts it again and it goes on at the committed offsets; not if the setup is broken.
        """
        what = self.domain.name if partition is None else f"lane {partition}"
        if isinstance(error, BrokenSetup):
            code = EXIT_BROKEN_SETUP
            logger.critical("{}: {} {} Exit code {}.", what, error.message, error.hint, code)
        elif isinstance(error, ClockWrong):  # the supervisor's next start may find the clock set
            code = EXIT_LANE_FAILED
            logger.critical("{}: {} Exit code {}.", what, error, code)
        else:
            code = EXIT_LANE_FAILED
            if partition is not None and is_broken(error):  # only reads find that: it would open at each start
                with suppress(Exception):
                    self.stores.wipe(partition)
            logger.opt(exception=error).critical("{} failed, exit code {}", what, code)
        logger.complete()
        os._exit(code)
