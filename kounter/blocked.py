"""Where those who read topics stand, at batches that can't be unpacked: asked of Kafka, so nobody need run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import typer
from aiokafka.errors import KafkaError
from loguru import logger

from adapters.nest.bridge import GROUP
from kounter.connect import connected_settings
from kounter.settings import Settings
from schemas.errors import EXIT_BROKEN_SETUP, BrokenSetup
from streams.domains import DOMAINS, core_users
from streams.kafka.batches import unpacking
from streams.kafka.batches.headers import UnreadableBatch
from streams.kafka.topics import group_of
from streams.query.lag import LagMeter
from streams.topology import CHANNELS

PATIENCE_S: Final = 8.0


async def beside_domains(meter: LagMeter, queue: str) -> list[UnreadableBatch]:
    """Of deliveries and the Nest bridge, as far as their topics are there."""
    groups = [(group_of(name), (topic,)) for name, topic in CHANNELS.items()] + [(GROUP, (queue, core_users.REPLIES))]
    found = [await meter.of_group(group, topics) for group, topics in groups]
    return [batch for group in found for batch in group.unreadable]


def unreadable_now() -> list[UnreadableBatch]:
    """Of domains, deliveries and the Nest bridge; none while Kafka can't be asked."""
    try:
        return asyncio.run(_ask(connected_settings()))
    except (BrokenSetup, KafkaError, OSError, TimeoutError):
        return []


async def _ask(settings: Settings) -> list[UnreadableBatch]:
    async with asyncio.timeout(PATIENCE_S), LagMeter(settings.kafka) as meter:
        found = [batch for domain in DOMAINS.values() for batch in (await meter.of_domain(domain)).unreadable]
        found += await beside_domains(meter, settings.nest.queue)
    return list({batch.id: batch for batch in found}.values())


def as_dicts(batches: Iterable[UnreadableBatch]) -> list[dict[str, Any]]:
    """For JSON."""
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
    """Asked at the end of a process that was told to end: its last lines name where it stood."""
    where = unpacking.unreadable_here()
    for batch in where:
        logger.critical("{} {}", batch.message, batch.hint)
    return bool(where)


def leave_with_64_if_standing() -> None:
    """The same, as a command leaves. Raises typer.Exit."""
    if is_standing():
        raise typer.Exit(EXIT_BROKEN_SETUP)
