"""A rolling deploy: workers of two versions side by side, of which the newer has one more aggregate."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest

from tests.support.cluster import READY, Cluster, Worker, eventually
from tests.support.trial import Deposit, Item

pytestmark = pytest.mark.integration
TOGETHER_S = 5.0


async def test_neither_version_fences_the_other_to_death_and_the_new_topic_waits(
    cluster: Cluster, tmp_path: Path
) -> None:
    keys = [uuid.uuid4().hex for _ in range(16)]
    old = Worker(cluster.kafka, cluster.registry, tmp_path, 0, guard="older_version")
    await old.until(READY)
    new = Worker(cluster.kafka, cluster.registry, tmp_path, 1)
    try:
        await new.until(READY)
        for key in keys:
            await cluster.producer.send(Deposit(key, "c1", 10))
        number = 0
        for _ in range(int(TOGETHER_S * 4)):
            number += 1
            for key in keys:
                await cluster.producer.send_nowait(Item(key, number, f"s{number}"))
            await asyncio.sleep(0.25)
        assert (old.process.poll(), new.process.poll()) == (None, None), old.text()[-2_000:] + new.text()[-2_000:]

        async def items_are_told() -> bool:
            return all([len(await cluster.rows("trial.out", key)) == number for key in keys])

        await eventually(items_are_told)
        old.stop()

        async def deposits_are_answered() -> bool:
            return all([len(await cluster.rows("trial.account.replies", key)) == 1 for key in keys])

        await eventually(deposits_are_answered)
        for key in keys:
            (decided,) = await cluster.rows("trial.account", key)
            assert decided.balance == 10
    finally:
        old.kill()
        new.kill()
