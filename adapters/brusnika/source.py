"""The feed and the polling of free times with Kafka behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from adapters.brusnika import dead_letters
from adapters.brusnika.feed import BrusnikaFeed
from adapters.brusnika.position import KafkaPositions
from adapters.brusnika.settings import BrusnikaSettings
from adapters.brusnika.slots import TIMEOUT_S, Free, Known, SlotPoller
from adapters.brusnika.status import STATUS, report_on, status_of
from adapters.http_client import HttpClient
from schemas.codec.serde import Serde
from schemas.estate import Project
from schemas.record import contract
from streams.kafka.consumer import committed_consumer, read_to_end, started
from streams.kafka.producer import RecordProducer
from streams.kafka.settings import KafkaSettings

SLOTS: Final = "slots/"
"""Prefix of the notes of known free times."""


@asynccontextmanager
async def open_feed(settings: BrusnikaSettings, kafka: KafkaSettings, serde: Serde) -> AsyncIterator[BrusnikaFeed]:
    """Yields the feed, ready to run. Raises KafkaError, BrokenSetup."""
    async with (
        KafkaPositions(kafka, settings.source) as positions,
        RecordProducer(kafka, serde, settings.source) as producer,
    ):
        keep = partial(dead_letters.keep, producer, kafka.partitions, settings.source)
        feed = BrusnikaFeed(settings, producer.send_many, keep, positions.load, positions.save)
        report = partial(positions.note, STATUS)
        reporter = asyncio.create_task(report_on(feed, report))
        try:
            yield feed
        finally:
            reporter.cancel()
            await asyncio.gather(reporter, return_exceptions=True)
            with suppress(KafkaError):
                await report(status_of(feed))


@asynccontextmanager
async def open_slots(settings: BrusnikaSettings, kafka: KafkaSettings, serde: Serde) -> AsyncIterator[SlotPoller]:
    """Yields the polling of free times, ready to run. Raises KafkaError, BrokenSetup."""
    key = {settings.header_name: settings.header_value.get_secret_value()}
    async with (
        KafkaPositions(kafka, settings.source) as positions,
        RecordProducer(kafka, serde, f"{settings.source}/slots") as producer,
        HttpClient(
            settings.slots.url,
            "the developer's CRM",
            setting="KOUNTER_BRUSNIKA__SLOTS__URL",
            timeout_s=TIMEOUT_S,
            headers=key,
            secrets=(settings.header_value,),
        ) as http,
    ):

        async def projects() -> Collection[str]:
            return settings.slots.projects or await keys_of(kafka, contract(Project).topics[0])

        async def load() -> Known:
            notes = await positions.load_notes()
            return {
                name.removeprefix(SLOTS): [Free(*pair) for pair in note["free"]]
                for name, note in notes.items()
                if name.startswith(SLOTS)
            }

        async def save(place: str, free: Sequence[Free]) -> None:
            await positions.note(f"{SLOTS}{place}", {"free": free})

        yield SlotPoller(settings.slots, http, projects, producer.send_many, load, save)


async def keys_of(kafka: KafkaSettings, topic: str) -> set[str]:
    """Returns the keys on a topic. Raises KafkaSilent and KafkaError."""
    found = set[str]()
    async with started(committed_consumer(kafka)) as consumer:
        partitions = [TopicPartition(topic, number) for number in range(kafka.partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        async for polled in read_to_end(consumer, await consumer.end_offsets(partitions)):
            found.update(record.key.decode("utf-8", "replace") for record in polled if record.key)
    return found
