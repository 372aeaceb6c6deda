"""The digests of a feed in the compacted topic `feeds.digests`: keys are ``<feed>/<type>/<ext_id>``.

All of a feed are in one partition, so that one reading brings them, and none of the others.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiokafka import AIOKafkaProducer

from adapters.feeds.compacted import entries
from adapters.feeds.comparison import Known
from adapters.feeds.state import DIGESTS
from streams.kafka.clients import append_all
from streams.kafka.partitioner import partition_of
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import ProducerRecord

BATCH_BYTES: Final = 256 << 10
_LEAST: Final = 8
"""Bytes of an entry: its digest alone."""


def partition(kafka: KafkaSettings, feed: str) -> int:
    """Returns the partition of a feed's digests."""
    return partition_of(feed.encode(), kafka.partitions)


async def load(kafka: KafkaSettings, feed: str) -> Known:
    """Returns what a feed said before. Raises KafkaError."""
    known, begin = Known(), f"{feed}/".encode()
    async for key, entry in entries(kafka, DIGESTS, partition(kafka, feed)):
        if entry and key.startswith(begin) and len(entry) >= _LEAST:
            known.load(key[len(begin) :].decode(), entry)
    return known


class DigestWriter:
    """Writes entries of one feed. Close it with `stop`. The last entry of a key counts, so a repeat does no harm."""

    def __init__(self, kafka: KafkaSettings, feed: str) -> None:
        self._feed, self._partition = feed, partition(kafka, feed)
        self._producer = AIOKafkaProducer(**kafka.client_options(), acks="all", max_batch_size=BATCH_BYTES)
        self._started = False

    async def write(self, written: list[tuple[str, bytes]]) -> None:
        """Write entries by key, in whole batches; returns when Kafka has acknowledged all. Raises KafkaError."""
        if not self._started:
            await self._producer.start()
            self._started = True
        records = [ProducerRecord(f"{self._feed}/{key}".encode(), entry) for key, entry in written]
        done, sent = 0, []
        while done < len(records):
            batch = self._producer.create_batch()
            done += append_all(batch, records, done)
            batch.close()
            sent.append(await self._producer.send_batch(batch, DIGESTS, partition=self._partition))
        await asyncio.gather(*sent)

    async def stop(self) -> None:
        """Close the connection."""
        await self._producer.stop()
