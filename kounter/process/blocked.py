"""Batches that can't be unpacked and stop a consumer group, and the alarms of outside systems: read from Kafka, so no
process needs to run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from aiokafka.errors import KafkaError
from loguru import logger

from kounter.connect import connected_settings
from kounter.connectors import alarms, context_of, groups
from kounter.settings import Settings
from schemas.errors import BrokenSetup
from streams.domains import DOMAINS
from streams.kafka.batches import unpacking
from streams.kafka.batches.headers import UnreadableBatch
from streams.kafka.consumer import KafkaSilent
from streams.query.lag import LagMeter

PATIENCE_S: Final = 8.0


async def beside_domains(meter: LagMeter, settings: Settings) -> list[UnreadableBatch]:
    """Returns the batches at which deliveries and sources stand, as far as their topics exist."""
    found = [await meter.of_group(group, topics) for group, topics in groups(settings).items()]
    return [batch for group in found for batch in group.unreadable]


class Trouble(NamedTuple):
    """The facts that a person must act on."""

    unreadable: list[UnreadableBatch]
    """Batches at which domains, deliveries and sources stand."""
    alarms: list[str]


def trouble_now() -> Trouble:
    """Returns the trouble of this deployment; none while Kafka can't be reached."""
    try:
        return asyncio.run(_ask(connected_settings()))
    except (BrokenSetup, KafkaError, KafkaSilent, OSError, TimeoutError):
        return Trouble([], [])


async def _ask(settings: Settings) -> Trouble:
    async with asyncio.timeout(PATIENCE_S), LagMeter(settings.kafka) as meter:
        found = [batch for domain in DOMAINS.values() for batch in (await meter.of_domain(domain)).unreadable]
        found += await beside_domains(meter, settings)
        said = await alarms(context_of(settings))
    return Trouble(list({batch.id: batch for batch in found}.values()), said)


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
