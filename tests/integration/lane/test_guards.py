"""The lanes' guards, forced by injected faults: each fires, and nothing is lost."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import pytest

from streams.kafka.partitioner import partition_of
from tables.store import PartitionStore
from tests.support.cluster import PATIENCE_S, READY, Cluster, Worker, eventually
from tests.support.trial import TRIAL, Item

pytestmark = pytest.mark.integration
ITEMS = 60


async def feed(cluster: Cluster, start: int = 1) -> str:
    """Changes of one new item; its key."""
    key = uuid.uuid4().hex
    for number in range(start, start + ITEMS):
        await cluster.producer.send(Item(key, number, f"s{number}"))
    return key


async def told(cluster: Cluster, key: str) -> list[str | None]:
    return [move.new for move in await cluster.rows("trial.out", key)]


async def all_told(cluster: Cluster, key: str) -> None:
    """Every change of the item was told once, in order."""
    wanted = [f"s{number}" for number in range(1, ITEMS + 1)]

    async def is_there() -> bool:
        return len(await told(cluster, key)) >= ITEMS

    await eventually(is_there)
    assert await told(cluster, key) == wanted


async def work_once(cluster: Cluster, folder: Path) -> str:
    """A worker comes, folds an item's changes, and goes; the item's key."""
    worker = Worker(cluster.kafka, cluster.registry, folder)
    await worker.until(READY)
    key = await feed(cluster)
    await all_told(cluster, key)
    worker.stop()
    return key


async def test_a_batch_that_got_lost_on_the_way_is_read_again(cluster: Cluster, tmp_path: Path) -> None:
    worker = Worker(cluster.kafka, cluster.registry, tmp_path, guard="lose_a_batch")
    try:
        await worker.until(READY)
        await all_told(cluster, await feed(cluster))
        assert "reading again" in worker.text(), worker.text()
    finally:
        worker.kill()


async def one_each(cluster: Cluster) -> list[str]:
    """One change in every partition, with none behind it; the keys."""
    found: dict[int, str] = {}
    while len(found) < cluster.kafka.partitions:
        key = uuid.uuid4().hex
        found.setdefault(partition_of(key.encode(), cluster.kafka.partitions), key)
    for key in found.values():
        await cluster.producer.send(Item(key, 1, "s1"))
    return list(found.values())


async def each_told(cluster: Cluster, keys: list[str]) -> None:
    """Every one was told, once."""

    async def are_there() -> bool:
        return all([await told(cluster, key) for key in keys])

    await eventually(are_there, 40)
    assert [await told(cluster, key) for key in keys] == [["s1"]] * len(keys)


async def test_the_last_record_of_a_partition_that_got_lost_on_the_way_is_read_again(
    cluster: Cluster, tmp_path: Path
) -> None:
    """No gap tells of it: in a demo it stood unread until the next rebalance."""
    worker = Worker(cluster.kafka, cluster.registry, tmp_path, guard="lose_a_batch")
    try:
        await worker.until(READY)
        await each_told(cluster, await one_each(cluster))
    finally:
        worker.kill()


async def test_what_waits_while_recovery_ends_is_not_thrown_away(cluster: Cluster, tmp_path: Path) -> None:
    """Faust resumes the flow then, and emptied the agent's queue."""
    await work_once(cluster, tmp_path)
    shutil.rmtree(tmp_path / "workers")  # all is to be recovered
    keys = await one_each(cluster)
    worker = Worker(cluster.kafka, cluster.registry, tmp_path, guard="wait_while_recovery_ends")
    try:
        await each_told(cluster, keys)
    finally:
        worker.kill()


async def test_records_that_come_before_the_state_is_whole_wait(cluster: Cluster, tmp_path: Path) -> None:
    await work_once(cluster, tmp_path)
    key = await feed(cluster)
    worker = Worker(cluster.kafka, cluster.registry, tmp_path, guard="come_too_early")
    try:
        await all_told(cluster, key)
        assert "not folding yet" in worker.text(), worker.text()
    finally:
        worker.kill()


async def test_a_local_state_ahead_of_the_changelog_is_built_anew(cluster: Cluster, tmp_path: Path) -> None:
    key = await work_once(cluster, tmp_path)
    home = partition_of(key.encode(), cluster.kafka.partitions)
    store = PartitionStore(tmp_path / "workers" / "0" / TRIAL.name / f"p{home}")
    store.write({f"trial.item\0{key}".encode(): b"[5]"}, 10**9)
    store.close()
    worker = Worker(cluster.kafka, cluster.registry, tmp_path)
    try:
        await worker.until("ahead of the changelog")
        await cluster.producer.send(Item(key, ITEMS + 1, "last"))

        async def has_last() -> bool:
            return "last" in await told(cluster, key)

        await eventually(has_last)
        assert (await cluster.rows("trial.out", key))[-1].old == f"s{ITEMS}"
    finally:
        worker.kill()


async def test_a_lane_that_fails_ends_the_process_and_nothing_is_lost(cluster: Cluster, tmp_path: Path) -> None:
    worker = Worker(cluster.kafka, cluster.registry, tmp_path, guard="fail_once")
    await worker.until(READY)
    key = await feed(cluster)
    assert worker.process.wait(PATIENCE_S) == 70
    again = Worker(cluster.kafka, cluster.registry, tmp_path, guard="fail_once")
    try:
        await all_told(cluster, key)
    finally:
        again.kill()


@pytest.mark.parametrize("guard", ["fail_to_fence", "miss_the_brokers"])
async def test_a_partition_that_can_not_be_taken_over_ends_the_process(
    cluster: Cluster, tmp_path: Path, guard: str
) -> None:
    """A recovery that took too long ended by itself, without a word: the worker kept its partitions, and read none."""
    worker = Worker(cluster.kafka, cluster.registry, tmp_path, guard=guard)
    assert worker.process.wait(PATIENCE_S) not in (0, 64), worker.text()
    again = Worker(cluster.kafka, cluster.registry, tmp_path, guard=guard)
    try:
        await all_told(cluster, await feed(cluster))
    finally:
        again.kill()


async def test_a_topic_that_the_brokers_did_not_name_at_first_is_assigned_later(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Chaos: a worker that started while the broker did left every partition to nobody, for five minutes."""
    worker = Worker(cluster.kafka, cluster.registry, tmp_path, guard="forget_the_changelog")
    try:
        await worker.until("partitions [] are ours")
        (tmp_path / "remembered").touch()
        await all_told(cluster, await feed(cluster))
    finally:
        worker.kill()
