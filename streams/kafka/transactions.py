"""Writers that put a lane's result into Kafka: in one transaction, or acknowledged step by step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import IllegalOperation, InvalidTimestampError, KafkaError
from aiokafka.structs import OffsetAndMetadata, RecordMetadata, TopicPartition
from loguru import logger

from streams.kafka.clients import append_all
from streams.kafka.idempotent import ClockWrong
from streams.kafka.settings import KafkaSettings

BATCH_BYTES: Final = 900_000
"""Bytes of one produce batch; below the brokers' default limit of 1 MiB."""
REQUEST_BYTES: Final = 8 << 20
TRANSACTION_TIMEOUT_MS: Final = 20_000
REQUEST_TIMEOUT_MS: Final = 15_000
RETRY_BACKOFF_MS: Final = 20
STOP_TIMEOUT_S: Final = 5.0


NO_HEADERS: Final[list[tuple[str, bytes]]] = []
"""A list, as aiokafka takes nothing else."""


class ProducerRecord(NamedTuple):
    """A record to write."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] = NO_HEADERS
    timestamp: int | None = None
    """Milliseconds since the epoch; None: now. A decided event has its command's time, so that a replay gives its
    state.
    """


new_record: Final[Callable[[type[ProducerRecord], Any], ProducerRecord]] = tuple.__new__
"""Makes a record by ``new_record(ProducerRecord, (key, value, headers, timestamp))`` for loops, in half the time of the
class's own.
"""


class OtherPartition(NamedTuple):
    """An explicit (topic, partition) destination, where it is not the writer's own partition."""

    topic: str
    partition: int


Destination = str | OtherPartition
"""A topic alone means the writer's own partition of it."""
Writes = Mapping[str, Sequence[ProducerRecord]] | Mapping[Destination, Sequence[ProducerRecord]]
"""Records by destination."""


class Writer(Protocol):
    """A writer of one partition. After an error it must not be used again."""

    async def start(self) -> None: ...

    async def commit(self, changelog: str, writes: Writes, offsets: Mapping[TopicPartition, int]) -> int | None:
        """Write all records and offsets. Returns the changelog's offset of the states, None if nothing went to the
        changelog. Raises KafkaError, ClockWrong.
        """

    async def stop(self) -> None: ...


class _Producing:
    """A producer of one partition that sends whole batches: `send` for each record costs twice the CPU."""

    def __init__(self, kafka: KafkaSettings, partition: int, **options: Any) -> None:
        self._partition = partition
        self._producer = AIOKafkaProducer(
            **kafka.client_options(),
            acks="all",
            linger_ms=0,
            max_batch_size=BATCH_BYTES,
            max_request_size=REQUEST_BYTES,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            retry_backoff_ms=RETRY_BACKOFF_MS,
            **options,
        )

    async def _send(self, destination: Destination, entries: Sequence[ProducerRecord]) -> int:
        """Write and wait for the acknowledgement. Returns the offset of the last record."""
        topic, partition = (destination, self._partition) if isinstance(destination, str) else destination
        producer, sent, done = self._producer, [], 0
        while done < len(entries):
            batch = producer.create_batch()
            count = append_all(batch, entries, done)
            batch.close()
            sent.append((await producer.send_batch(batch, topic, partition=partition), count))
            done += count
        acknowledged: list[RecordMetadata] = await _all([future for future, _ in sent])
        return int(acknowledged[-1].offset) + sent[-1][1] - 1  # a batch's future carries its base offset

    async def stop(self) -> None:
        try:
            await asyncio.wait_for(self._producer.stop(), STOP_TIMEOUT_S)
        except Exception as error:
            logger.debug("partition {}: producer did not stop cleanly: {!r}", self._partition, error)


class TransactionalWriter(_Producing):
    """Writes changelog, outbox and source offsets in one transaction. A later one that starts with the same id fences
    this one.
    """

    def __init__(self, kafka: KafkaSettings, group: str, partition: int) -> None:
        self._group = group
        self._begun = False
        super().__init__(
            kafka,
            partition,
            transactional_id=f"{group}-{partition}",
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        )

    async def start(self) -> None:
        """Fence the partition's former owner: its open transaction is aborted, its writes are never read. Raises
        KafkaError.
        """
        await self._producer.start()
        await self._producer.begin_transaction()
        self._begun = True

    async def commit(
        self, changelog: str, writes: Writes, offsets: Mapping[TopicPartition, int | OffsetAndMetadata]
    ) -> int | None:
        if not self._begun:
            await self._producer.begin_transaction()
        self._begun = False
        # All acknowledged before the offsets go in: sent together they collide and each collision costs a back-off.
        try:
            last = await _all([self._send(destination, entries) for destination, entries in writes.items()])
            await self._producer.send_offsets_to_transaction(offsets, self._group)
            await self._producer.commit_transaction()
        except (
            IllegalOperation
        ) as error:  # raised for a write beside one that was refused; in aiokafka it is no KafkaError
            raise KafkaError(f"the transaction is broken: {error}") from error
        written = dict(zip(writes, last, strict=True))
        return written[changelog] + 1 if changelog in written else None  # + 1: the commit marker


class AcknowledgedWriter(_Producing):
    """Writes outbox, then changelog, each acknowledged, without a transaction; the source offsets are left to the
    caller.

    After a crash the tail is folded and sent again with the same deterministic ids. Zombies are not fenced.
    """

    def __init__(self, kafka: KafkaSettings, partition: int) -> None:
        super().__init__(kafka, partition, enable_idempotence=True)

    async def start(self) -> None:
        await self._producer.start()

    async def commit(self, changelog: str, writes: Writes, offsets: Mapping[TopicPartition, int]) -> int | None:
        await _all(
            [self._send(destination, entries) for destination, entries in writes.items() if destination != changelog]
        )
        return await self._send(changelog, writes[changelog]) if changelog in writes else None


async def _all(awaitables: list[Any]) -> list[Any]:
    """Returns the results of all, after all are done; raises the first error."""
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    for result in results:
        if isinstance(result, InvalidTimestampError):
            raise ClockWrong from result
        if isinstance(result, BaseException):
            raise result
    return results
