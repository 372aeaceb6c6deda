"""Batches that can't be unpacked and stop a consumer group: read from Kafka, so no process needs to run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from aiokafka.errors import KafkaError
from loguru import logger

from kounter.connect import connected_settings
from kounter.connectors import groups
from kounter.settings import Settings
from schemas.errors import BrokenSetup
from streams.domains import DOMAINS
from streams.kafka.batches import unpacking
from streams.kafka.batches.headers import UnreadableBatch
from streams.query.lag import LagMeter

PATIENCE_S: Final = 8.0


async def beside_domains(meter: LagMeter, settings: Settings) -> list[UnreadableBatch]:
    """Returns the batches at which deliveries and sources stand, as far as their topics exist."""
    found = [await meter.of_group(group, topics) for group, topics in groups(settings).items()]
    return [batch for group in found for batch in group.unreadable]


def unreadable_now() -> list[UnreadableBatch]:
    """Returns the batches of domains, deliveries and sources; none while Kafka can't be reached."""
    try:
        return asyncio.run(_ask(connected_settings()))
    except (BrokenSetup, KafkaError, OSError, TimeoutError):
        return []


async def _ask(settings: Settings) -> list[UnreadableBatch]:
    async with asyncio.timeout(PATIENCE_S), LagMeter(settings.kafka) as meter:
        found = [batch for domain in DOMAINS.values() for batch in (await meter.of_domain(domain)).unreadable]
        found += await beside_domains(meter, settings)
    return list({batch.id: batch for batch in found}.values())


def as_dicts(batches: Iterable[UnreadableBatch]) -> list[dict[str, Any]]:
    """Returns the batches as JSON has them."""
    return [
        {
            "topic": batch.id.topic,
            "partition": batch.id.partition,
            "offset": batch.offset,
            "last": batch.last,
            "cause": batch.cause,
            "hint": batch.hint,
        }
        for batch in batches
    ]


def is_standing() -> bool:
    """Returns whether this process stood at such a batch, and logs which: for its end, after an order to stop."""
    where = unpacking.unreadable_here()
    for batch in where:
        logger.critical("{} {}", batch.message, batch.hint)
    return bool(where)
