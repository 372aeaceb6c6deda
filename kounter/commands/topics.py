"""``kounter topics``: the topics that exist, and those that must exist."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition

from kounter.connect import connected_settings
from kounter.connectors import topics_for
from kounter.process.identity import check_kafka
from kounter.terminal import grid, put, screen, to_json
from streams.kafka.consumer import committed_consumer
from streams.kafka.topics import ensure_topics

app = typer.Typer(help="The topics that Kounter reads and writes.", invoke_without_command=True)


@app.callback()
def list_topics(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False
) -> None:
    """List topics with partitions, policy and offsets."""
    if context.invoked_subcommand:
        return
    found = asyncio.run(_describe())
    if as_json:
        print(to_json(found))
        return
    table = grid("topic", "partitions", "cleanup", "offsets")
    for topic in found:
        table.add_row(topic["topic"], str(topic["partitions"] or "missing"), topic["cleanup"], str(topic["offsets"]))
    put(table)


@app.command()
def create() -> None:
    """Create missing topics, and check the others. Workers do so too when they start."""
    made = asyncio.run(_create())
    screen().print(f"made: {', '.join(made)}" if made else "all are there")


async def _create() -> list[str]:
    settings = connected_settings()
    await check_kafka(settings)
    return await ensure_topics(settings.kafka, topics_for(settings))


async def _describe() -> list[dict[str, Any]]:
    settings = connected_settings()
    kafka, wanted = settings.kafka, topics_for(settings)
    admin = AIOKafkaAdminClient(**kafka.client_options())
    consumer = committed_consumer(kafka)
    await admin.start()
    await consumer.start()
    try:
        described = {t["topic"]: t["partitions"] for t in await admin.describe_topics([t.name for t in wanted])}
        found = []
        for topic in wanted:
            tps = [TopicPartition(topic.name, p["partition"]) for p in described.get(topic.name, ())]
            ends = await consumer.end_offsets(tps) if tps else {}
            starts = await consumer.beginning_offsets(tps) if tps else {}
            offsets = sum(ends[tp] - starts[tp] for tp in tps)
            policy = topic.config["cleanup.policy"]
            found.append({"topic": topic.name, "partitions": len(tps), "cleanup": policy, "offsets": offsets})
        return found
    finally:
        await consumer.stop()
        await admin.close()
