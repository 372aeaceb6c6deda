"""Feeds a view from the changelogs without any worker: reading goes on while they rebalance or are gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from aiokafka.structs import TopicPartition
from loguru import logger

from schemas.errors import shorten
from streams.aggregate import Domain
from streams.kafka.batches.headers import UnreadableBatch
from streams.kafka.batches.unpacking import stand, unreadable
from streams.kafka.consumer import committed_consumer
from streams.kafka.settings import KafkaSettings
from tables.view import Change, View

RETRY_S: Final = 2.0
POLL_MS: Final = 500
BATCH: Final = 5_000
"""Records of one SQLite transaction."""
Document = dict[str, Any]
Predicate = Callable[[Document | None], bool]
"""Condition on a state, as `View.get` returns it; the argument is None for a state that does not exist."""


class ViewFeeder:
    """Feeder of one gateway replica: a consumer without a group, so every replica has all states."""

    def __init__(self, kafka: KafkaSettings, domains: Iterable[Domain], view: View) -> None:
        self._kafka, self._view = kafka, view
        self._changelogs = [domain.changelog for domain in domains]
        self._waiting: dict[tuple[str, str], list[tuple[Predicate, asyncio.Future[Document | None]]]] = {}
        """Conditions that callers wait for, by aggregate and ext_id."""
        self.behind: int | None = None
        """Records that the view lacks; None while nothing is read."""
        self.unreadable: list[UnreadableBatch] = []
        """Batches that can't be unpacked, at which reading stands."""
        self.caught_up = False
        """Whether the view has reached the end of the changelogs once since it began to read or to rebuild."""
        self.deleted = 0
        """Records of changelogs that were gone when it began to read, as offsets count them."""
        self._writing = ThreadPoolExecutor(1, "view")
        """Thread for writes only: all others may be busy with slow queries."""

    async def run(self) -> None:
        """Reads until cancelled, and waits out an outage of the brokers."""
        while True:
            try:
                await self._feed()
            except OffsetOutOfRangeError:
                logger.warning("a changelog is not the one that the view was built from: building it again")
                await asyncio.to_thread(self._view.reset)
            except KafkaError as error:
                logger.warning("the view's feed stopped, going on in {} s: {!r}", RETRY_S, error)
                await asyncio.sleep(RETRY_S)

    async def wait_for(self, aggregate: str, ext_id: str, version: int, timeout: float) -> bool:
        """Wait until the view has at least ``version`` of a state: read your own write. False after ``timeout`` s."""
        try:
            await self.wait_until(aggregate, ext_id, lambda found: _version(found) >= version, timeout)
        except TimeoutError:
            return False
        return True

    async def wait_until(self, aggregate: str, ext_id: str, holds: Predicate, timeout_s: float) -> Document | None:
        """Wait until ``holds`` is true of a state that the view has; returns that state as `View.get` does. It is asked
        once at the beginning and then only when the state changes, in the event loop: it must be quick.

        Raises TimeoutError after ``timeout_s`` seconds, InvalidInput for an unknown aggregate, and all that ``holds``
        raises.
        """
        came: asyncio.Future[Document | None] = asyncio.get_running_loop().create_future()
        waiter = (holds, came)
        waiting = self._waiting.setdefault((aggregate, ext_id), [])
        waiting.append(waiter)  # before looking: no change goes unnoticed
        try:
            async with asyncio.timeout(timeout_s):
                found = await asyncio.to_thread(self._view.get, aggregate, ext_id)
                return found if holds(found) else await came
        finally:
            waiting.remove(waiter)
            if not waiting and self._waiting.get((aggregate, ext_id)) is waiting:
                del self._waiting[aggregate, ext_id]

    async def _feed(self) -> None:
        consumer = committed_consumer(self._kafka, auto_offset_reset="none")
        stand(consumer)
        try:
            await consumer.start()
            await self._check_cluster()
            tps = [TopicPartition(topic, p) for topic in self._changelogs for p in range(self._kafka.partitions)]
            consumer.assign(tps)
            known = await asyncio.to_thread(self._view.offsets)
            starts = await consumer.beginning_offsets(tps)
            ends = await consumer.end_offsets(tps)
            for tp in tps:
                at = known.get((tp.topic, tp.partition), starts[tp])
                if starts[tp] > (seen := known.get((tp.topic, tp.partition), 0)):
                    self.deleted += starts[tp] - seen
                    gone = "{} {}: its states before {} were deleted, the view lacks those that were not changed since"
                    logger.error(gone, tp.topic, tp.partition, starts[tp])
                if at > ends[tp]:
                    raise OffsetOutOfRangeError({tp: at})
                consumer.seek(tp, at)
            while True:
                polled = await consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH)
                at = {tp: await consumer.position(tp) for tp in tps}
                if polled:
                    await self._apply(polled, {(tp.topic, tp.partition): at[tp] for tp in polled})
                ends = {tp: max(ends[tp], consumer.last_stable_offset(tp) or 0) for tp in tps}
                self.unreadable = unreadable(consumer)
                self.behind = sum(max(0, ends[tp] - at[tp]) for tp in tps)
                self.caught_up = self.caught_up or self.behind < BATCH
        finally:
            self.behind, self.caught_up = None, False
            await consumer.stop()

    async def _check_cluster(self) -> None:
        """A view of another cluster, whose offsets mean other records, is forgotten."""
        admin = AIOKafkaAdminClient(**self._kafka.client_options())
        try:
            await admin.start()
            cluster = str((await admin.describe_cluster())["cluster_id"])
        finally:
            await admin.close()
        if await asyncio.to_thread(self._view.belongs_to, cluster):
            return
        logger.warning("the view is of another Kafka cluster: building it again")
        await asyncio.to_thread(self._view.reset, cluster)

    async def _apply(self, polled: Any, offsets: dict[tuple[str, int], int]) -> None:
        changes = []
        for records in polled.values():
            for record in records:
                aggregate, _, ext_id = (record.key or b"").decode("utf-8", "replace").partition("\0")
                layout = self._view.layouts.get(aggregate)
                if layout is None:  # an aggregate of a newer version is not for us
                    continue
                try:
                    state = None if record.value is None else layout.load(record.value)
                except Exception as error:  # bytes of a stranger may fail in any way
                    place = f"{record.topic} {record.partition}:{record.offset}"
                    logger.error("{}: no state, the view goes on without it: {!r}", place, shorten(error))
                    continue
                changes.append(Change(aggregate, ext_id, state))
        await asyncio.get_running_loop().run_in_executor(self._writing, self._view.apply, changes, offsets)
        if self._waiting:
            self._wake(changes)

    def _wake(self, changes: Sequence[Change]) -> None:
        """Check the waiting conditions against the new states: for each key, the last change."""
        latest = {(change.aggregate, change.ext_id): change.state for change in changes}
        for key in latest.keys() & self._waiting.keys():
            found = self._view.document(key[0], latest[key])
            for holds, came in self._waiting[key]:
                if came.done():
                    continue
                try:
                    if holds(found):
                        came.set_result(found)
                except Exception as error:  # the waiter's own fault, which must not end the feed
                    came.set_exception(error)


def _version(found: Document | None) -> int:
    return 0 if found is None else int(found["version"])
