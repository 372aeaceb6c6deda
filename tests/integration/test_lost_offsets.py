"""A group whose committed offsets are gone, by retention or by hand, does not fold everything a second time."""

from __future__ import annotations

import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CommitFailedError
from aiokafka.protocol.admin import DeleteGroupsRequest

from tests.integration.cluster import READY, Cluster, Worker, eventually
from tests.trial import TRIAL, Item

pytestmark = pytest.mark.integration


async def test_states_without_offsets_are_not_folded_over(stack: Any, tmp_path: Path) -> None:
    async with Cluster(stack, TRIAL) as cluster:
        await fold_one(cluster, tmp_path)
        admin = AIOKafkaAdminClient(**cluster.kafka.client_options())
        await admin.start()
        offsets = await admin.list_consumer_group_offsets(TRIAL.name)
        try:
            await eventually(lambda: delete_group(admin))
            worker = Worker(cluster.kafka, cluster.registry, tmp_path)
            await eventually(lambda: worker.process.poll() is not None)
            assert worker.process.returncode == 64, worker.text()[-3_000:]
            assert "has states for partition" in worker.text()
            assert "kafka-consumer-groups --reset-offsets" in worker.text()
        finally:
            await admin.close()
            await restore(cluster, offsets)
        await fold_one(cluster, tmp_path)


async def fold_one(cluster: Cluster, folder: Path) -> None:
    """By a worker that comes and goes."""
    worker = Worker(cluster.kafka, cluster.registry, folder)
    try:
        await worker.until(READY)
        key = uuid.uuid4().hex
        await cluster.producer.send(Item(key, 1, "new"))

        async def is_told() -> bool:
            return bool(await cluster.read("trial.out", key))

        await eventually(is_told)
        worker.stop()
    finally:
        worker.kill()


async def delete_group(admin: AIOKafkaAdminClient) -> bool:
    """Possible once the broker knows that its last member left."""
    coordinator = await admin.find_coordinator(TRIAL.name)
    await admin._send_request(DeleteGroupsRequest([TRIAL.name]), coordinator)
    return not await admin.list_consumer_group_offsets(TRIAL.name)


async def restore(cluster: Cluster, offsets: dict[Any, Any]) -> None:
    """As the hint says; other tests go on with the group."""
    async with AIOKafkaConsumer(
        **cluster.kafka.client_options(), group_id=TRIAL.name, enable_auto_commit=False
    ) as consumer:
        consumer.assign(list(offsets))

        async def committed() -> bool:
            with suppress(CommitFailedError):  # until the session of the worker that left is over
                await consumer.commit(dict(offsets))
                return True
            return False

        await eventually(committed)
