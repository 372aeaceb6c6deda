"""The feed with Kafka behind it: rows to their topics, refused frames to dead letters, the position kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

from aiokafka.errors import KafkaError

from adapters.brusnika import dead_letters
from adapters.brusnika.feed import BrusnikaFeed
from adapters.brusnika.position import KafkaPositions
from adapters.brusnika.settings import BrusnikaSettings
from adapters.brusnika.status import report_on, status_of
from schemas.codec.serde import Serde
from streams.kafka.producer import RecordProducer
from streams.kafka.settings import KafkaSettings


@asynccontextmanager
async def open_feed(settings: BrusnikaSettings, kafka: KafkaSettings, serde: Serde) -> AsyncIterator[BrusnikaFeed]:
    """Yields the feed, ready to run. Raises KafkaError, BrokenSetup."""
    async with (
        KafkaPositions(kafka, settings.source) as positions,
        RecordProducer(kafka, serde, settings.source) as producer,
    ):
        keep = partial(dead_letters.keep, producer, kafka.partitions, settings.source)
        feed = BrusnikaFeed(settings, producer.send_many, keep, positions.load, positions.save)
        reporter = asyncio.create_task(report_on(feed, positions.report))
        try:
            yield feed
        finally:
            reporter.cancel()
            await asyncio.gather(reporter, return_exceptions=True)
            with suppress(KafkaError):
                await positions.report(status_of(feed))
