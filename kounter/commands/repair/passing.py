"""``kounter dead-letters pass``: skip a batch that can't be unpacked."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Annotated, Any

import typer

from kounter.connect import connected_settings
from kounter.connectors import CONNECTORS, connected
from kounter.settings import Settings
from kounter.terminal import screen, shown, to_json
from schemas.errors import BrokenSetup, InvalidInput
from streams.domains import DOMAINS
from streams.kafka.batches import passing
from streams.kafka.settings import KafkaSettings


def pass_over(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="As the log and /api/health name it.")],
    partition: Annotated[int, typer.Argument(metavar="PARTITION", min=0)],
    offset: Annotated[int, typer.Argument(metavar="OFFSET", min=0)],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Skip a batch that can't be unpacked, from the offset to its last, and keep it as a dead letter.

    Workers, deliveries and bridges that stand there continue within seconds, those that are down at their next start;
    reading commands skip it too, and report it. A topic of the operator's Kafka is found there. The command refuses a
    batch that can be read, and a domain's changelog, which is built again instead (docs/replay.md).
    """
    changelogs = {domain.changelog for domain in DOMAINS.values()}
    if topic in changelogs:
        raise InvalidInput(
            "topic",
            "no changelog of a domain: its states would be older than they are",
            topic,
            hint="Fold the domain's topics again, into a changelog made anew: docs/replay.md.",
        )
    settings = connected_settings()
    batch, letter = asyncio.run(_pass(settings, topic, partition, offset))
    said: dict[str, Any] = {
        "topic": topic, "partition": partition, "first": batch.offset, "last": batch.last,
        "records": batch.records, "cause": batch.cause, "dead_letter": letter,
    }  # fmt: skip
    if as_json:
        print(to_json(said))
        return
    count = "" if batch.records is None else f", {batch.records} records by its header"
    console = screen()
    console.print(f"passed over: {shown(topic)} partition {partition}, offsets {batch.offset} to {batch.last}{count}")
    console.print(f"cause: {shown(batch.cause)}")
    console.print(f"kept as dead letter {letter}: `kounter dead-letters show {letter}`")


async def _pass(settings: Settings, topic: str, partition: int, offset: int) -> tuple[Any, str]:
    other = _other_cluster(settings, topic)
    where, isolation = (settings.kafka, "read_committed") if other is None else (other, "read_uncommitted")
    batch = await passing.find(where, topic, partition, offset, isolation=isolation)
    return batch, await passing.keep(settings.kafka, batch)


def _other_cluster(settings: Settings, topic: str) -> KafkaSettings | None:
    """Returns the cluster of an outside system that has the topic, None if no system has it."""
    for connector in CONNECTORS:
        if connector.cluster is None:
            continue
        with suppress(BrokenSetup):  # it is not set
            cluster = connector.cluster(connected(connector, settings))
            if topic in cluster.topics:
                return cluster.kafka
    return None
