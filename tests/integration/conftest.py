"""Fixtures of the integration tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import READY, Cluster, Worker
from tests.support.deliveries import Bench
from tests.support.trial import TRIAL


@pytest.fixture
async def cluster(stack: Any) -> AsyncIterator[Cluster]:
    """Of the trial domain; the workers that a test has killed are out of its group."""
    async with Cluster(stack, TRIAL) as cluster:
        yield cluster
        await cluster.bury(TRIAL.name)


@pytest.fixture
async def worker(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Worker]:
    worker = Worker(cluster.kafka, cluster.registry, tmp_path)
    await worker.until(READY)
    yield worker
    worker.kill()


@pytest.fixture
async def bench(stack: Any, tmp_path: Path) -> AsyncIterator[Bench]:
    async with Cluster(stack, TRIAL) as cluster:
        bench = Bench(cluster, tmp_path)
        await bench.prepare()
        yield bench
