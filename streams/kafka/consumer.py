"""Consumers of committed records, and reading with them to the end of partitions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord, TopicPartition

from schemas.errors import KounterError

POLL_MS: Final = 200
FETCH_WAIT_MS: Final = 50
"""Milliseconds for which a broker waits for new records. aiokafka's 500 would delay each read to an end: its last fetch
finds none.
"""
SILENCE_S: Final = 30.0
"""Seconds without progress after which reading is given up: committed records never take that long to come, and
aiokafka itself would wait without end.
"""


class KafkaConnection(Protocol):
    """Settings of any Kafka cluster."""

    def client_options(self) -> dict[str, Any]:
        """Returns the keyword arguments that every aiokafka client takes."""


class KafkaSilent(KounterError):
    """Kafka was there and stopped answering in the middle of reading."""

    code = "kafka_silent"
    hint = "Check that the brokers run (`kounter status`), then ask again."


def committed_consumer(kafka: KafkaConnection, **options: Any) -> AIOKafkaConsumer:
    """Returns a consumer, not started, that reads committed records from the earliest on.

    It commits no offsets by itself, also as a member of a group: those are committed in transactions.

    ``options`` are further ones of `AIOKafkaConsumer`, or replace these.
    """
    ours = {
        "isolation_level": "read_committed",
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        "fetch_max_wait_ms": FETCH_WAIT_MS,
    }
    return AIOKafkaConsumer(**kafka.client_options(), **{**ours, **options})


@asynccontextmanager
async def started(consumer: AIOKafkaConsumer) -> AsyncIterator[AIOKafkaConsumer]:
    """Start a consumer, and stop it at the end, also if it can't be started. Raises KafkaError, OSError."""
    try:
        await consumer.start()
        yield consumer
    finally:
        await stop(consumer)


async def stop(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer, started or not."""
    await asyncio.sleep(0)  # a consumer whose tasks have not begun yet raises CancelledError when it is stopped
    await consumer.stop()


async def read_to_end(consumer: Any, ends: Mapping[TopicPartition, int]) -> AsyncIterator[list[ConsumerRecord]]:
    """Yields the records of each poll, from the position of each partition to before its offset in ``ends``.

    It ends by positions and not by records, as markers of transactions have offsets, too. A later reading can go on
    from the positions. The partitions must be assigned to the consumer.

    Raises KafkaSilent after `SILENCE_S` seconds without progress, UnreadableBatch if the consumer stands at one, and
    KafkaError.
    """
    before: dict[TopicPartition, int] = {}
    moved = time.monotonic()
    while True:
        try:
            async with asyncio.timeout(SILENCE_S):  # a partition that was not sought to has no position without leader
                at = {tp: await consumer.position(tp) for tp in ends}
        except TimeoutError:
            raise _silent("no start", ends) from None
        behind = [tp for tp in ends if at[tp] < ends[tp]]
        if not behind:
            return
        if at != before:
            before, moved = at, time.monotonic()
        elif time.monotonic() - moved > SILENCE_S:
            raise _silent("nothing", behind)
        polled = await consumer.getmany(*behind, timeout_ms=POLL_MS)  # not of the others: a busy topic grows meanwhile
        for tp, records in polled.items():
            if records[-1].offset >= ends[tp]:
                consumer.seek(tp, ends[tp])  # a later reading goes on from there
        yield [record for tp, records in polled.items() for record in records if record.offset < ends[tp]]


def _silent(what: str, partitions: Iterable[TopicPartition]) -> KafkaSilent:
    places = ", ".join(f"{tp.topic} {tp.partition}" for tp in partitions)
    return KafkaSilent(f"no answer from Kafka for {SILENCE_S:.0f} s: {what} of {places}")
