"""A group whose committed offsets are gone, by retention or by hand, does not do everything a second time."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CommitFailedError
from aiokafka.protocol.admin import DeleteGroupsRequest

from schemas.bitrix24 import CardAction
from streams.kafka.offsets import LostOffsets
from tests.support.cluster import READY, Cluster, Worker, eventually
from tests.support.deliveries import Bench, Port
from tests.support.trial import TRIAL, Item

pytestmark = pytest.mark.integration


async def test_states_without_offsets_are_not_folded_over(stack: Any, tmp_path: Path) -> None:
    async with Cluster(stack, TRIAL) as cluster:
        await fold_one(cluster, tmp_path)
        offsets = await delete_group(cluster, TRIAL.name)
        try:
            worker = Worker(cluster.kafka, cluster.registry, tmp_path)
            await eventually(lambda: worker.process.poll() is not None, 60)
            assert worker.process.returncode == 64, worker.text()[-3_000:]
            assert "but has no offsets" in worker.text()
            assert "kounter offsets set" in worker.text()
        finally:
            await restore(cluster, TRIAL.name, offsets)
        await fold_one(cluster, tmp_path)


async def test_commands_without_offsets_are_not_sent_again(bench: Bench) -> None:
    await bench.send(bench.command("a", CardAction.CREATE_CARD, "NEW"))
    await deliver(bench)
    await delete_group(bench.cluster, bench.group)
    with pytest.raises(LostOffsets, match="but has no offsets"):
        async with asyncio.timeout(60):
            await bench.delivery(Port()).run()


async def deliver(bench: Bench) -> None:
    """What there is, by a delivery that comes and goes."""
    delivery = bench.delivery(Port())
    running = asyncio.create_task(delivery.run())
    await bench.all_answered(1)
    delivery.stop()
    await running


async def fold_one(cluster: Cluster, folder: Path) -> None:
    """By a worker that comes and goes."""
    worker = Worker(cluster.kafka, cluster.registry, folder)
    try:
        await worker.until(READY)
        key = uuid.uuid4().hex
        await cluster.producer.send(Item(key, 1, "new"))

        async def is_told() -> bool:
            return bool(await cluster.read("trial.out", key))

        await eventually(is_told, 60)
        worker.stop()
    finally:
        worker.kill()


async def delete_group(cluster: Cluster, group: str) -> dict[Any, Any]:
    """Possible once the broker knows that its last member left. Returns what was committed."""
    admin = AIOKafkaAdminClient(**cluster.kafka.client_options())
    await admin.start()

    async def is_gone() -> bool:
        coordinator = await admin.find_coordinator(group)
        await admin._send_request(DeleteGroupsRequest([group]), coordinator)
        return not await admin.list_consumer_group_offsets(group)

    try:
        offsets: dict[Any, Any] = await admin.list_consumer_group_offsets(group)
        await eventually(is_gone)
    finally:
        await admin.close()
    return offsets


async def restore(cluster: Cluster, group: str, offsets: dict[Any, Any]) -> None:
    """As the hint says; other tests go on with the group."""
    async with AIOKafkaConsumer(**cluster.kafka.client_options(), group_id=group, enable_auto_commit=False) as consumer:
        consumer.assign(list(offsets))

        async def committed() -> bool:
            with suppress(CommitFailedError):  # until the session of the worker that left is over
                await consumer.commit(dict(offsets))
                return True
            return False

        await eventually(committed)
