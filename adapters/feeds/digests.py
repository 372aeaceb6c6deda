"""The digests of a feed in the compacted topic `feeds.digests`: keys are ``<feed>/<type>/<ext_id>``.

All of a feed are in one partition, so that one reading brings them, and none of the others.
"""

from __future__ import annotations

import asyncio
from typing import Final

from adapters.feeds.compacted import entries
from adapters.feeds.comparison import Known
from adapters.feeds.state import DIGESTS
from streams.kafka.idempotent import IdempotentProducer
from streams.kafka.partitioner import partition_of
from streams.kafka.settings import KafkaSettings

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
    """Writes entries of one feed. Close it with `stop`."""

    def __init__(self, kafka: KafkaSettings, feed: str) -> None:
        self._feed, self._partition = feed, partition(kafka, feed)
        self._producer = IdempotentProducer(**kafka.client_options(), linger_ms=5, max_batch_size=256 << 10)

    async def write(self, written: list[tuple[str, bytes]]) -> None:
        """Write entries by key; returns when Kafka has acknowledged all."""
        sent = [
            await self._producer.send(DIGESTS, entry, f"{self._feed}/{key}".encode(), partition=self._partition)
            for key, entry in written
        ]
        await asyncio.gather(*sent)

    async def stop(self) -> None:
        """Close the connection."""
        await self._producer.stop()
