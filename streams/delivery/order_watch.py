"""The watch for orders to park a command that is being retried.

Such an order stands on the topic of the commands behind the command that it is about. In the queue of the key it would
wait for that command, and it is not even read while the partition holds back: `session.MOST_SPAN` offsets behind a
command that is not done, or with the memory full. So a held partition is read on by a consumer of its own, outside of
the group, for orders alone. It commits nothing: after a crash the next owner finds the order again, for the command
that it names is not done, and the order stands behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from aiokafka.structs import ConsumerRecord, TopicPartition

from schemas.codec.decoding import HEADER_SIZE
from schemas.errors import UndecodableRecord
from schemas.parking import ParkedAction, ParkedOrder
from streams.kafka.batches.unpacking import stand
from streams.kafka.consumer import committed_consumer, started
from streams.kafka.settings import KafkaSettings

HELD_S: Final = 5.0
"""Seconds for which a partition holds back before it is read ahead: under load it holds back for a moment, often."""
LOOK_S: Final = 1.0
POLL_MS: Final = 200
AT_ONCE: Final = 500
"""Records of a poll; those that are no orders cost a look at their first bytes."""


class OrderWatch:
    """Finds orders to park, among the records that a session has read and, of held partitions, ahead of them."""

    def __init__(
        self,
        kafka: KafkaSettings,
        decode: Callable[[bytes], Awaitable[Any]],
        found: Callable[[ConsumerRecord, ParkedOrder], None],
    ) -> None:
        """``decode`` returns the row of a record's value. ``found`` is called with each order, often more than once."""
        self._kafka, self._decode, self._found = kafka, decode, found
        self._others: set[bytes] = set()
        """Headers of values, which name the schema, that are no orders."""
        self._read = deque[ConsumerRecord]()
        self._held: dict[TopicPartition, tuple[int, float]] = {}
        """Offset and time at which each partition began to hold back."""
        self._at: dict[TopicPartition, int] = {}
        """Offset up to which each partition was read ahead."""
        self._wake = asyncio.Event()

    def look_at(self, records: Iterable[ConsumerRecord]) -> None:
        """Look for orders in records that the session has read."""
        self._read.extend(record for record in records if self._may_be_order(record))
        if self._read:
            self._wake.set()

    def hold(self, positions: Mapping[TopicPartition, int]) -> None:
        """Note the partitions that hold back now behind a stalled command, and their next offsets to be read."""
        now = asyncio.get_running_loop().time()
        held = {}
        for tp, position in positions.items():
            before = self._held.get(tp)
            held[tp] = (position, now if before is None else before[1])
        self._held = held

    def forget(self) -> None:
        """Forget all partitions: they may be another's now."""
        self._read.clear()
        self._held, self._at = {}, {}

    async def run(self) -> None:
        """Look for orders until cancelled. Raises KafkaError."""
        while True:
            await self._look()
            if self._due():
                await self._read_ahead()
            self._wake.clear()
            await _until(self._wake, LOOK_S)

    async def _look(self) -> None:
        while self._read:
            await self._examine(self._read.popleft())

    async def _read_ahead(self) -> None:
        """Read on the partitions that hold back, as long as there are any."""
        consumer = committed_consumer(self._kafka)
        stand(consumer, quietly=True)
        async with started(consumer):
            assigned: set[TopicPartition] = set()
            while due := self._due():
                if due.keys() != assigned:
                    assigned = set(due)
                    consumer.assign(list(due))
                    for tp, position in due.items():
                        consumer.seek(tp, position)
                polled = await consumer.getmany(timeout_ms=POLL_MS, max_records=AT_ONCE)
                for tp, records in polled.items():
                    for record in filter(self._may_be_order, records):
                        await self._examine(record)
                    if tp in self._held:
                        self._at[tp] = records[-1].offset + 1
                await self._look()

    def _due(self) -> dict[TopicPartition, int]:
        """Returns the offsets at which to read on the partitions that have held back for long enough."""
        since = asyncio.get_running_loop().time() - HELD_S
        return {tp: max(at, self._at.get(tp, 0)) for tp, (at, begun) in self._held.items() if begun <= since}

    def _may_be_order(self, record: ConsumerRecord) -> bool:
        return record.value is not None and record.value[:HEADER_SIZE] not in self._others

    async def _examine(self, record: ConsumerRecord) -> None:
        try:
            row = await self._decode(record.value)
        except UndecodableRecord:
            return  # it becomes a dead letter when its turn comes
        if not isinstance(row, ParkedOrder):
            self._others.add(record.value[:HEADER_SIZE])
        elif row.action == ParkedAction.PARK and row.edit is None:
            self._found(record, row)


async def _until(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, at most for so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
