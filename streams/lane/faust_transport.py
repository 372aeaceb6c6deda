"""All uses of private names of Faust 0.15.3 and aiokafka 0.14.0, but for those of aiokafka alone
(`streams.kafka.clients`). No other module may use them. Each name is in `streams.kafka.private_api` with its reason,
and is checked at start.

The transport hands out whole batches: `BatchConsumer.getmany` yields one message a partition and poll, whose value is
the list of raw records and which covers the offsets ``[base, offset]``. Faust's drain loop, conductor, rebalance and
recovery stay as they are.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from typing import Any, Final

import aiokafka.producer.sender as aiokafka_sender
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import IllegalStateError
from aiokafka.structs import TopicPartition
from faust.tables.recovery import Recovery
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.kafka import private_api
from streams.kafka.batches.unpacking import stand
from streams.kafka.deleted_records import deleted
from streams.lane.batch_message import BatchMessage, message_of, parts_of

SCHEME: Final = "kounter"
POLL_INTERVAL_S: Final = 0.005
"""Least seconds between polls: at low load records gather to batches instead of costing a transaction each."""
MOST_WAITING: Final = 64 << 20
"""Bytes that wait in memory for agent and recovery. Faust counts batches: three million records took 1.5 GB."""
RECORD_BYTES: Final = 500
"""Bytes of a record in Python, beside key and value."""
FETCH_WAIT_MS: Final = 100
"""Milliseconds of a fetch. Faust's 1,500 make every ListOffsets wait behind the long poll."""
TXN_BACKOFF_S: Final = 0.001
"""Seconds; aiokafka waits 20 ms for CONCURRENT_TRANSACTIONS, which most back-to-back transactions get once."""


class _NothingKnown(dict[TP, int | None]):
    """Last offsets by partition, always unknown. Faust silently drops records before the last offset that it saw of a
    partition: after a seek these may be the very records that are needed, and after a topic was cut short those that
    stand there since. The lanes tell these apart.
    """

    def __getitem__(self, tp: TP) -> None:
        return None


class _Fetched(dict[Any, Any]):
    """Records of one fetch; ``span`` is the position before and after it, by partition."""

    span: dict[TP, tuple[int | None, int]]


class BatchConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Tracks, in the consumer's own thread, up to which offset each partition was handed out.

    Only here a seek and a fetch can't race: a base offset taken elsewhere was seen to be wrong.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._handed_out: dict[TP, int] = {}
        self._assignment: Any = None

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        # Faust's spinner leaves the root logger at DEBUG: a quarter of the CPU for lines that are never shown.
        logging.getLogger("aiokafka").setLevel(logging.WARNING)
        before, self.consumer.in_transaction = self.consumer.in_transaction, True  # only here: read_committed by Faust
        try:
            consumer = super()._create_worker_consumer(transport)
        finally:
            self.consumer.in_transaction = before
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        stand(consumer)
        return consumer

    async def _fetch_records(self, consumer: AIOKafkaConsumer, active_partitions: Any, **options: Any) -> _Fetched:
        active_partitions = frozenset(active_partitions or ())  # the main thread changes its own meanwhile
        fetched = _Fetched(await super()._fetch_records(consumer, active_partitions, **options) or {})
        fetched.span = {}
        # no await from here on: the positions are those of this fetch
        if (assignment := self._current(consumer)) is None:
            return fetched
        for tp in active_partitions:
            state = assignment.state_value(TopicPartition(tp.topic, tp.partition))
            if state is not None and state.has_valid_position:
                own = TP(tp.topic, tp.partition)
                fetched.span[own] = (self._handed_out.get(own), state.position)
                self._handed_out[own] = state.position
        return fetched

    def handed_out(self, tp: TP) -> int:
        """Returns the offset up to which records were handed out; 0 if none were."""
        return self._handed_out.get(tp, 0)

    def deleted(self, topics: Iterable[str]) -> int:
        """Returns the number of records of these topics that were deleted before they were read."""
        return deleted(self._ensure_consumer(), topics)

    def _current(self, consumer: AIOKafkaConsumer) -> Any:
        """Returns the assignment. With a new one all positions are new; earlier seeks are void."""
        subscription = consumer._subscription.subscription
        assignment = subscription.assignment if subscription else None
        if assignment not in (None, self._assignment):
            self._handed_out, self._assignment = {}, assignment
        return assignment

    async def _seek_wait(self, consumer: AIOKafkaConsumer, partitions: Mapping[TP, int]) -> None:
        self._current(consumer)
        for tp, offset in partitions.items():
            consumer.seek(tp, offset)  # one that is not ours any more raises: those behind it stand where they did
            self._handed_out[TP(tp.topic, tp.partition)] = offset
        await super()._seek_wait(consumer, partitions)

    def seek(self, partition: TP, offset: int) -> None:
        self._current(self._ensure_consumer())
        self._handed_out[TP(partition.topic, partition.partition)] = offset
        super().seek(partition, offset)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek all partitions at once. aiokafka's own method asks for one after the other: a fetch in between would
        make records that it handed out look like markers, and if these were dropped they would never be read again.
        """

        async def seek() -> Mapping[TP, int]:
            consumer = self._ensure_consumer()
            found = await consumer._coordinator.fetch_committed_offsets(list(consumer.assignment()))
            # no await from here on
            self._current(consumer)
            offsets = {tp: meta.offset for tp, meta in found.items() if tp in consumer.assignment() and meta.offset > 0}
            for tp, offset in offsets.items():
                consumer.seek(tp, offset)
                self._handed_out[TP(tp.topic, tp.partition)] = offset
            return offsets

        result: Mapping[TP, int] = await self.call_thread(seek)
        return result

    def highwater(self, tp: TP) -> int:
        """Returns the log's end, not the last stable offset: recovery also waits for a fenced zombie's transaction."""
        offset: int = self._ensure_consumer().highwater(tp)
        return offset

    async def committed_offsets(self, tps: Set[TP]) -> dict[TP, int | None]:
        """Returns the committed offsets of all ``tps`` in one request; None where nothing is committed."""

        async def fetch() -> dict[TP, int | None]:
            wanted = [TopicPartition(*tp) for tp in tps]
            found = await self._ensure_consumer()._coordinator.fetch_committed_offsets(wanted)
            offsets = {TP(tp.topic, tp.partition): meta.offset for tp, meta in found.items()}
            return {tp: (offsets[tp] if offsets.get(tp, -1) >= 0 else None) for tp in tps}

        result: dict[TP, int | None] = await self.call_thread(fetch)
        return result


class BatchConsumer(driver.Consumer):  # type: ignore[misc]
    """Hands whole batches to the streams."""

    inboxes: Sequence[asyncio.Queue[Any]] = ()
    """Queues of the readers of its messages."""
    _last_poll = 0.0
    _handing: Set[TP] = frozenset()
    """Partitions of the fetch whose messages are being taken."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._read_offset = _NothingKnown()

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def handed_out(self, tp: TP) -> int:
        """Returns the offset of `BatchConsumerThread.handed_out`."""
        return int(self._thread.handed_out(tp))

    def deleted(self, topics: Iterable[str]) -> int:
        """Returns the count of `BatchConsumerThread.deleted`."""
        return int(self._thread.deleted(topics))

    def under_way(self) -> set[TP]:
        """Returns the partitions with messages that are being handed over, or wait to be taken."""
        return {message.tp for message in self._waiting()} | self._handing

    def _waiting(self) -> Iterator[BatchMessage]:
        return (event.message for queue in self.inboxes for event in queue._queue)  # type: ignore[attr-defined]

    def _is_much_waiting(self) -> bool:
        return sum(message.weight + RECORD_BYTES * len(message.value) for message in self._waiting()) > MOST_WAITING

    async def committed_offsets(self, tps: Set[TP]) -> dict[TP, int | None]:
        """Returns the offsets of `BatchConsumerThread.committed_offsets`."""
        result: dict[TP, int | None] = await self._thread.committed_offsets(tps)
        return result

    async def commit_offsets(self, offsets: Mapping[TP, int]) -> bool:
        """Commit without a transaction. Returns False after a rebalance: the new owner reads the records again."""
        return bool(await self._commit(offsets))

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, BatchMessage]]:
        if (wait := self._last_poll + POLL_INTERVAL_S - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        self._last_poll = time.monotonic()
        if self._is_much_waiting():
            return
        records, _ = await self._wait_next_records(timeout)
        self._last_poll = time.monotonic()
        if records is None or self.should_stop:
            return
        if not self.flow_active:
            with suppress(IllegalStateError):  # a rebalance came first: all positions are new
                await self._put_back(records)
            return
        generation = self.app.consumer_generation_id
        messages = self._messages(records, generation)
        self._handing = {tp for tp, _ in messages}
        for tp, message in messages:
            if not self.flow_active or self.app.consumer_generation_id != generation:
                break
            if (highwater := self.highwater(tp)) is not None:
                self.app.monitor.track_tp_end_offset(tp, highwater)
            yield tp, message
        self._handing = frozenset()

    async def _put_back(self, records: _Fetched) -> None:
        """Seek back, so that records that no reader takes now are read again. Faust's `perform_seek` leaves out
        partitions for which nothing was ever committed: the gap would show with the next record only.
        """
        await self.perform_seek()
        changelogs, span = self.app.tables.changelog_topics, getattr(records, "span", {})
        bases = {}
        for raw_tp, batch in records.items():
            tp = TP(raw_tp.topic, raw_tp.partition)
            if tp.topic not in changelogs and not self._committed_offset.get(tp):  # recovery seeks changelogs itself
                before, _ = span.get(tp, (None, 0))
                bases[tp] = batch[0].offset if before is None else min(before, batch[0].offset)
        if bases:
            await self.seek_wait(bases)

    def _messages(self, records: _Fetched, generation: int) -> list[tuple[TP, BatchMessage]]:
        """Returns the batches of one fetch, partitions taking turns."""
        span = getattr(records, "span", {})
        found: list[tuple[int, TP, BatchMessage]] = []
        for raw_tp, batch in records.items():
            tp = TP(raw_tp.topic, raw_tp.partition)
            before, end = span.get(tp, (None, 0))
            base = batch[0].offset if before is None else min(before, batch[0].offset)
            end, taken = max(end, batch[-1].offset + 1), 0
            for part, weight in parts_of(batch):
                taken += len(part)
                part_end = end if taken == len(batch) else part[-1].offset + 1
                found.append((taken - len(part), tp, message_of(tp, part, weight, base, part_end, generation)))
                base = part_end
        # Commit markers and aborted records are never delivered: recovery and lanes need the new position.
        for tp, (before, position) in span.items():
            if tp not in records and 0 < position != before:
                base = position if before is None else before
                found.append((0, tp, message_of(tp, [], 0, base, position, generation)))
        found.sort(key=lambda entry: entry[0])
        return [(tp, message) for _, tp, message in found]


class BatchTransport(driver.Transport):  # type: ignore[misc]
    """A transport with `BatchConsumer`; chosen by the URL scheme ``kounter://``."""

    Consumer = BatchConsumer


_wait: Final = Recovery._wait


async def _wait_in_time(self: Recovery, coro: Any, timeout: float | None = None) -> None:
    """Wait at most ``timeout`` seconds. Raises TimeoutError, which ends the process: `mode` treats a timeout as a stop
    request, so recovery ended silently, and the worker kept partitions that it never read.
    """
    try:
        async with asyncio.timeout(timeout):
            await _wait(self, coro)
    except TimeoutError as error:
        raise TimeoutError(
            "Kafka did not answer in time while states were recovered. The worker ends; started again, it recovers "
            "what is left. If this repeats, look at the brokers."
        ) from error


def install() -> None:
    """Check all private names, register ``kounter://`` in Faust, install the patches above. Raises BrokenSetup."""
    private_api.verify()
    TRANSPORTS.aliases[SCHEME] = f"{__name__}:BatchTransport"
    Recovery._wait = _wait_in_time
    aiokafka_sender.BACKOFF_OVERRIDE = TXN_BACKOFF_S
