"""State of a delivery by partition: a compacted changelog, and a local copy of it.

Entries are written in the transaction of receipts and offsets, and then to the local copy, which so is never ahead of
Kafka; the owner of the partition reads the entries that its copy lacks before it begins.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from aiokafka.structs import TopicPartition
from loguru import logger

from streams.kafka.consumer import committed_consumer, read_to_end, started
from streams.kafka.offsets import check_begin
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import ProducerRecord
from tables.store import PartitionStore, Stores

Write = tuple[str, ProducerRecord]
"""A record and the topic where it goes."""


class DeliveryState:
    """State of one partition. Reads return committed values: jobs of a key never overlap, each waits for its commit."""

    def __init__(self, changelog: str, store: PartitionStore) -> None:
        self.changelog, self._store = changelog, store
        self.get = store.get

    @property
    def offset(self) -> int | None:
        """Returns the offset of the changelog up to which the local copy has it, None if it has nothing."""
        return self._store.offset

    def is_blank(self) -> bool:
        """Returns whether there are no entries."""
        return next(iter(self._store.items()), None) is None

    def scan(self, prefix: bytes, start: bytes | None = None) -> Iterable[tuple[bytes, bytes]]:
        """Returns the entries whose keys begin with ``prefix``, ascending from ``start`` or from the first."""
        return self._store.scan(prefix, start)

    def apply(self, entries: Sequence[ProducerRecord], offset: int, as_of: float | None = None) -> None:
        """Write entries of the changelog up to ``offset``, as of ``as_of``, in seconds since the epoch; None: now."""
        self._store.write({entry.key or b"": entry.value for entry in entries}, offset, as_of)


class DeliveryStates:
    """States of one process's partitions: they are opened and closed with the partitions."""

    def __init__(self, kafka: KafkaSettings, changelog: str, folder: Path) -> None:
        self._kafka, self._changelog, self._folder = kafka, changelog, folder
        self._stores = Stores(folder)
        self._spare: tempfile.TemporaryDirectory[str] | None = None

    async def open(self, partitions: Sequence[int]) -> dict[int, DeliveryState]:
        """Returns the states by partition, read to the end of the changelog. The former owners must be fenced before.

        Raises StatesDeleted, KafkaSilent and KafkaError.
        """
        if not partitions:
            return {}
        opening = asyncio.ensure_future(asyncio.to_thread(self._open, partitions))
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            await asyncio.wait({opening})  # a thread can't be cancelled: `close` must find what it opened
            raise
        async with started(committed_consumer(self._kafka)) as consumer:
            return await self._catch_up(consumer, partitions)

    def close(self) -> None:
        """Close the local copies: the partitions may be another's now."""
        self._stores.keep(())
        if self._spare is not None:
            self._spare.cleanup()
            self._spare, self._stores = None, Stores(self._folder)

    def _open(self, partitions: Sequence[int]) -> None:
        try:
            for partition in partitions:
                self._stores[partition]
        except Exception as error:
            if "lock" not in str(error).lower():
                raise
            # A suspended process of this machine still holds it; the changelog has everything.
            logger.warning("{} is in use, building a copy of its own: {}", self._folder, error)
            self.close()
            self._spare = tempfile.TemporaryDirectory(prefix="kounter-")
            self._stores = Stores(Path(self._spare.name))

    async def _catch_up(self, consumer: Any, partitions: Sequence[int]) -> dict[int, DeliveryState]:
        tps = {TopicPartition(self._changelog, p): p for p in partitions}
        consumer.assign(list(tps))
        ends: dict[TopicPartition, int] = await consumer.end_offsets(list(tps))
        self._stores.drop_ahead({tps[tp]: end for tp, end in ends.items()})
        states = {tp: DeliveryState(self._changelog, self._stores[p]) for tp, p in tps.items()}
        begins: dict[TopicPartition, int] = await consumer.beginning_offsets(list(tps))
        for tp, state in states.items():
            at = 0 if state.offset is None else state.offset + 1
            check_begin(self._kafka, tp, at, begins[tp], ends[tp])
            consumer.seek(tp, max(at, begins[tp]))
        async for polled in read_to_end(consumer, ends):
            for partition, records in groupby(polled, key=lambda record: record.partition):
                entries = list(records)
                writes = [ProducerRecord(r.key, r.value) for r in entries]
                state = states[TopicPartition(self._changelog, partition)]
                state.apply(writes, entries[-1].offset, entries[-1].timestamp / 1000)
        return {tps[tp]: state for tp, state in states.items()}
