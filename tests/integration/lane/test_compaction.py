"""Recovery from a changelog that the broker has really compacted: holes in its offsets, deletions, markers between."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.kafka.partitioner import partition_of
from streams.kafka.topics import COMPACTED
from tables.layout import layout
from tests.support.cluster import READY, Cluster, Worker, eventually
from tests.support.trial import TRIAL, Item

pytestmark = pytest.mark.integration

KEYS, UPDATES = 40, 30
QUICK = {"segment.ms": "1000", "min.cleanable.dirty.ratio": "0.001", "max.compaction.lag.ms": "1000"}
CLEANED_S = 200.0
"""The broker's cleaner looks every 15 s."""


async def configure(cluster: Cluster, config: dict[str, str]) -> None:
    admin = AIOKafkaAdminClient(**cluster.kafka.client_options())
    await admin.start()
    try:
        topic = ConfigResource(ConfigResourceType.TOPIC, TRIAL.changelog, {**COMPACTED, **config})
        for answer in await admin.alter_configs([topic]):
            assert [code for code, *_ in answer.resources] == [0], answer
    finally:
        await admin.close()


async def test_state_is_whole_after_its_changelog_was_compacted(cluster: Cluster, tmp_path: Path) -> None:
    run = uuid.uuid4().hex[:8]
    keys = [f"{run}-{n}" for n in range(KEYS)]
    await configure(cluster, QUICK)
    try:
        await grow_and_compact(cluster, tmp_path, keys, run)
    finally:
        await configure(cluster, {})
    await check_a_new_worker(cluster, tmp_path, keys)


async def grow_and_compact(cluster: Cluster, folder: Path, keys: list[str], run: str) -> None:
    """Write many versions of each key and go on writing others until the cleaner has taken most of them away."""
    (folder / "a").mkdir()
    partitions = cluster.kafka.partitions
    worker = Worker(cluster.kafka, cluster.registry, folder / "a", 0)
    await worker.until(READY)
    try:
        for number in range(1, UPDATES + 1):
            for key in keys:
                await cluster.producer.send_nowait(Item(key, number, f"s{number}", f"n{number}"))
            await asyncio.sleep(0.05)  # not all in one transaction, which writes one record a key
        for key in keys[:5]:
            await cluster.producer.tombstone("trial.item", key)
        turn = 0
        # A segment only ends when something is written to its partition: one key for each of them.
        homes = {partition_of(f"roll-{run}-{n}".encode(), partitions): f"roll-{run}-{n}" for n in range(100)}
        others = homes.values()
        assert len(others) == partitions

        async def compacted() -> bool:
            nonlocal turn
            turn += 1
            for key in others:
                await cluster.producer.send(Item(key, turn, f"t{turn}"))
            kept = [r for r in await cluster.read(TRIAL.changelog) if r.key and f"\0{run}-".encode() in r.key]
            await asyncio.sleep(1)
            return 0 < len(kept) <= 3 * KEYS

        await eventually(compacted, CLEANED_S)
    finally:
        worker.stop()


async def check_a_new_worker(cluster: Cluster, folder: Path, keys: list[str]) -> None:
    """With nothing but the changelog it goes on where the old one was."""
    (folder / "b").mkdir()
    worker = Worker(cluster.kafka, cluster.registry, folder / "b", 1)
    await worker.until(READY)
    try:
        for key in keys:
            await cluster.producer.send(Item(key, UPDATES + 1, status="after"))

        async def latest() -> dict[bytes, Any]:
            of = layout("trial.item")
            records = [r for r in await cluster.read(TRIAL.changelog) if r.value]
            return {r.key: of.load(r.value) for r in records if r.key.startswith(b"trial.item\0")}

        async def done() -> bool:
            found = await latest()
            return all((s := found.get(f"trial.item\0{key}".encode())) and s.status == "after" for key in keys)

        await eventually(done)
        found = await latest()
        for n, key in enumerate(keys):
            state = found[f"trial.item\0{key}".encode()]
            assert state.note == (None if n < 5 else f"n{UPDATES}")
            assert state.version == (1 if n < 5 else UPDATES + 1)
    finally:
        worker.kill()
