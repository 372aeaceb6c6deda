"""Dead letters back to where they came from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer

from adapters.brusnika.dead_letters import is_frame
from adapters.brusnika.dead_letters import take_over as take_frames
from adapters.rosdomofon.dead_letters import SOURCE, Unreadable, is_foreign, take_over
from kounter.connect import connected_settings
from kounter.history.dead_letters import id_of
from kounter.history.reader import Reader
from kounter.process.identity import check_kafka, ready_to_write
from schemas.record import outside_topics, partition_key
from streams.domains import DOMAINS
from streams.kafka import dead_letters
from streams.kafka.partitioner import partition_of
from streams.kafka.producer import RecordProducer
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import REQUEST_BYTES

BATCH = "it keeps a batch that could not be unpacked: produce its records again from their source"
LEFT_OUT = "too large to be kept: it stands only where it came from"


async def put_letters_back(reader: Reader, letters: list[Any], edit: str | None) -> list[Unreadable]:
    """Put letters back, or read them from the operator's cluster again. Returns those for which that is impossible."""
    await check_kafka(connected_settings())
    whole, still = list[Any](), list[Unreadable]()
    for letter in letters:
        headers, id = dict(letter.headers), f"{letter.partition}:{letter.offset}"
        if dead_letters.BATCH in headers:
            still.append(Unreadable(id, BATCH))
        elif dead_letters.LEFT_OUT in headers:
            still.append(Unreadable(id, LEFT_OUT))
        else:
            whole.append(letter)
    foreign = [letter for letter in whole if is_foreign(letter)]
    frames = [letter for letter in whole if is_frame(letter)]
    ours = [letter for letter in whole if not is_foreign(letter) and not is_frame(letter)]
    await _put_back(reader.kafka, ours)
    if frames:
        still += await _take_frames(reader, frames, edit)
    if foreign:
        topics = [aggregate.topic for aggregate in DOMAINS["domofon"].aggregates]
        await ready_to_write(connected_settings(), reader.serde, topics)
        async with RecordProducer(reader.kafka, reader.serde, SOURCE) as producer:
            unread = await take_over(producer, foreign, edit)
        still += unread
        await _mark(reader.kafka, [letter for letter in foreign if id_of(letter) not in {one.id for one in unread}])
    return still


async def _take_frames(reader: Reader, frames: list[Any], edit: str | None) -> list[Unreadable]:
    """Read frames of the developer's feed again. Returns those that can't be read."""
    settings = connected_settings()
    await ready_to_write(settings, reader.serde, outside_topics())
    async with RecordProducer(reader.kafka, reader.serde, settings.brusnika.source) as producer:
        unread = [Unreadable(*one) for one in await take_frames(producer, frames, edit)]
    still = {one.id for one in unread}
    await _mark(reader.kafka, [letter for letter in frames if id_of(letter) not in still])
    return unread


@asynccontextmanager
async def _producing(kafka: KafkaSettings) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        **kafka.client_options(), enable_idempotence=True, acks="all", max_request_size=REQUEST_BYTES
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def _mark(kafka: KafkaSettings, letters: list[Any]) -> None:
    """Mark each letter as put back. That is done afterwards, so the records of marked letters exist."""
    async with _producing(kafka) as producer:
        sent = []
        for letter in letters:
            entry = dead_letters.put_back(letter)
            at = letter.partition
            sent.append(
                await producer.send(dead_letters.TOPIC, entry.value, entry.key, partition=at, headers=entry.headers)
            )
        await asyncio.gather(*sent)


async def _put_back(kafka: KafkaSettings, letters: list[Any]) -> None:
    """Put records back on the partition of their key; one without a key goes to its own partition."""
    records = [(letter, *dead_letters.original(letter)) for letter in letters]
    async with _producing(kafka) as producer:
        sent = []
        for letter, topic, entry in records:
            known = await producer.partitions_for(topic)
            own = int(dict(letter.headers)["__connect.errors.partition"])
            partition = own if entry.key is None else partition_of(partition_key(topic, entry.key), len(known))
            sent.append(
                await producer.send(
                    topic, entry.value, entry.key, partition, timestamp_ms=entry.timestamp, headers=entry.headers
                )
            )
        await asyncio.gather(*sent)
    await _mark(kafka, letters)
