"""What a delivery remembers of a partition: a compacted changelog, and a local copy of it.

It is written in the transaction of receipts and positions, and then to the local copy, which so is never ahead of
Kafka; the owner of the partition reads what its copy lacks before it begins.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from loguru import logger

from streams.kafka.offsets import check_begin
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import ProducerRecord
from tables.store import PartitionStore, Stores

Write = tuple[str, ProducerRecord]
"""A record and the topic where it goes."""
POLL_MS: Final = 200
SILENCE_S: Final = 30.0
"""Of a broker, while the changelog is read."""


class DeliveryState:
    """Of one partition. What is read is what is committed: jobs of a key never overlap, each waits for its commit."""

    def __init__(self, changelog: str, store: PartitionStore) -> None:
        self.changelog, self._store = changelog, store
        self.get = store.get

    @property
    def offset(self) -> int | None:
        """Of the changelog, that the local copy stands at."""
        return self._store.offset

    def is_blank(self) -> bool:
        """Nothing was ever done, or nothing that is remembered."""
        return next(iter(self._store.items()), None) is None

    def scan(self, prefix: bytes, start: bytes | None = None) -> Iterable[tuple[bytes, bytes]]:
        """Keys that begin with ``prefix``, ascending from ``start`` or from the first."""
        return self._store.scan(prefix, start)

    def apply(self, entries: Sequence[ProducerRecord], offset: int, as_of: float | None = None) -> None:
        """What the changelog has, up to ``offset``, where it stood ``as_of`` that time; None: now."""
        self._store.write({entry.key or b"": entry.value for entry in entries}, offset, as_of)


class DeliveryStates:
    """The states of one process's partitions: opened with them, closed with them."""

    def __init__(self, kafka: KafkaSettings, changelog: str, folder: Path) -> None:
        self._kafka, self._changelog, self._folder = kafka, changelog, folder
        self._stores = Stores(folder)
        self._spare: tempfile.TemporaryDirectory[str] | None = None

    async def open(self, partitions: Sequence[int]) -> dict[int, DeliveryState]:
        """Local copies, brought up to what the changelog has. The partitions' former owners must be fenced."""
        if not partitions:
            return {}
        opening = asyncio.ensure_future(asyncio.to_thread(self._open, partitions))
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            await asyncio.wait({opening})  # a thread can't be cancelled: `close` must find what it opened
            raise
        consumer = AIOKafkaConsumer(
            **self._kafka.client_options(),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=50,
        )
        try:
            await consumer.start()
            return await self._catch_up(consumer, partitions)
        finally:
            await asyncio.sleep(0)  # a consumer whose tasks have not begun yet raises CancelledError when it is stopped
            await consumer.stop()

    def close(self) -> None:
        """The partitions may be another's now."""
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
            # A process of this machine that was stopped still holds it; the changelog has everything.
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
        async with asyncio.timeout(SILENCE_S) as patience:
            while behind := [tp for tp in tps if await consumer.position(tp) < ends[tp]]:
                for tp, records in (await consumer.getmany(*behind, timeout_ms=POLL_MS)).items():
                    last = records[-1]
                    states[tp].apply(
                        [ProducerRecord(r.key, r.value) for r in records], last.offset, last.timestamp / 1000
                    )
                    patience.reschedule(asyncio.get_running_loop().time() + SILENCE_S)
        return {tps[tp]: state for tp, state in states.items()}
