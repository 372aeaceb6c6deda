"""Writes the differences of a file to Kafka: records in batches, parents acknowledged first, then their digests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from typing import Final

from loguru import logger

from adapters.feeds.comparison import Difference, key_of
from adapters.feeds.digests import DigestWriter
from schemas.codec.serde import Serde
from schemas.errors import InvalidInput
from streams.kafka.producer import RecordProducer
from streams.kafka.settings import KafkaSettings

BATCH: Final = 2_000
"""Records that wait for their acknowledgement: some megabytes."""


async def write(
    kafka: KafkaSettings, serde: Serde, feed: str, differences: Iterable[Difference], at_micros: int
) -> int:
    """Write all differences, with ``at_micros`` as their time. Returns their number.

    A digest is written after the acknowledgement of its record, so a crash between them repeats records. They have the
    same values then, and fold to nothing. Raises KafkaError.
    """
    count = 0
    digests = DigestWriter(kafka, feed)
    remembered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    remembered.set_result(None)
    try:
        async with RecordProducer(kafka, serde, source_of(feed)) as producer:
            for batch in _batches(differences):
                entries = await _send(producer, batch, at_micros)
                await remembered
                remembered = asyncio.ensure_future(digests.write(entries))
                count += len(entries)
            await remembered
    finally:
        remembered.cancel()
        await asyncio.gather(remembered, return_exceptions=True)
        await digests.stop()
    return count


async def _send(producer: RecordProducer, batch: list[Difference], at_micros: int) -> list[tuple[str, bytes]]:
    """Send the records of a batch. Returns the entries of those that Kafka has acknowledged."""
    sent, entries = [], []
    for row, entry in batch:
        try:
            sent.append(await producer.send_nowait(row, time_micros=at_micros))
        except InvalidInput as error:  # too large for Kafka: a list of very many photographs
            logger.warning("{} is passed over: {}: expected {}", row[0], error.field, error.expected)
        else:
            entries.append((key_of(type(row), row[0]), entry))
    await asyncio.gather(*sent)
    return entries


def source_of(feed: str) -> str:
    """Returns the name of a feed in the headers of its records."""
    return f"feed:{feed}"


def _batches(differences: Iterable[Difference]) -> Iterator[list[Difference]]:
    """Returns batches of one type each, so that no child is sent before its parents are acknowledged."""
    for _, alike in groupby(differences, key=lambda difference: type(difference.row)):
        while batch := list(islice(alike, BATCH)):
            yield batch
