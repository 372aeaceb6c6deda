"""The table of all outside systems: commands, topics and lists follow from it. A new system adds one line."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from loguru import logger

from adapters.backend.connector import BACKEND
from adapters.bitrix24.connector import BITRIX24
from adapters.brusnika.connector import BRUSNIKA, BRUSNIKA_SLOTS
from adapters.connector import Connector, Context
from adapters.feeds.connector import FEEDS
from adapters.nest.connector import NEST
from adapters.rosdomofon.connector import ROSDOMOFON
from kounter.embedded.runfile import RunFile
from kounter.settings import Settings
from schemas.errors import BrokenSetup

if TYPE_CHECKING:
    from streams.aggregate import Domain
    from streams.kafka.topics import Topic

CONNECTORS: tuple[Connector, ...] = (
    BITRIX24,
    BRUSNIKA,
    BRUSNIKA_SLOTS,
    FEEDS,
    NEST,
    ROSDOMOFON,
    BACKEND,
)
TWIN: Final = "twin-"
"""Prefix of twins' names in logs and in the run file."""


def sinks() -> dict[str, str]:
    """Returns the topic of the commands by sink."""
    return {name: topic for c in CONNECTORS if c.deliveries for name, topic in c.deliveries.topics.items()}


def topics_of(domains: Iterable[Domain]) -> list[Topic]:
    """Returns every topic that these domains and all outside systems need."""
    from streams import topology

    responses = [c.deliveries.responses for c in CONNECTORS if c.deliveries and c.deliveries.responses]
    return topology.topics_of(domains, sinks(), responses)


def all_topics() -> list[Topic]:
    """Returns every topic that Kounter needs."""
    from streams.domains import DOMAINS

    return topics_of(DOMAINS.values())


def topics_for(settings: Settings) -> list[Topic]:
    """Returns every topic that this deployment needs: `all_topics`, and those of systems that it has."""
    context = context_of(settings)
    further = [topic for c in CONNECTORS for topic in c.topics(context)]
    return list({topic.name: topic for topic in (*all_topics(), *further)}.values())


async def alarms(context: Context) -> list[str]:
    """Returns what a person must look at, of all systems. Raises KafkaError, KafkaSilent."""
    found = await asyncio.gather(*[c.alarms(context) for c in CONNECTORS if c.alarms is not None])
    return [text for texts in found for text in texts]


def find(name: str) -> Connector:
    """Returns the connector of a system. Raises KeyError."""
    return {c.name: c for c in CONNECTORS}[name]


def context_of(settings: Settings) -> Context:
    """Returns what connectors need, with the settings as they are."""
    parts = (getattr(settings, name) for name in type(settings).model_fields)
    return Context(settings.kafka, settings.data_dir, {type(part): part for part in parts})


def connected(connector: Connector, settings: Settings) -> Context:
    """Returns the context in which a system is opened; its running twin stands in if no real system is set.

    Raises BrokenSetup if there is neither.
    """
    context = context_of(settings)
    if connector.is_set(context):
        return context
    title, twin = f"{connector.title} {connector.noun}", connector.twin
    service = RunFile(settings.data_dir).get(TWIN + connector.name)
    if twin is None or service is None:
        start = f", or start `kounter twins {connector.name}`" if twin else ""
        raise BrokenSetup(f"no {title} is set, and no twin runs", hint=f"Set {connector.variables}{start}.")
    logger.info("no {} is set: its twin stands in (pid {})", title, service.pid)
    part = twin.stand_in(context, service.address)
    return Context(context.kafka, context.data_dir, {**context.parts, type(part): part}, service.address)


def groups(settings: Settings) -> Mapping[str, tuple[str, ...]]:
    """Returns our topics that deliveries and sources read, by consumer group."""
    from streams.kafka.topics import group_of

    context = context_of(settings)
    read = [c.source.groups(context) for c in CONNECTORS if c.source]
    return {group_of(name): (topic,) for name, topic in sinks().items()} | {
        group: tuple(topics) for one in read for group, topics in one.items()
    }
