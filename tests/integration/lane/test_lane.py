"""The lane on a real Kafka: worker processes of the trial domain, and what stands on the topics afterwards."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from streams.kafka import dead_letters
from streams.kafka.partitioner import partition_of
from tables.layout import State, layout
from tests.support.cluster import PATIENCE_S, READY, Cluster, Worker, eventually
from tests.support.trial import TRIAL, Deposit, Item

pytestmark = pytest.mark.integration


def new_key() -> str:
    return uuid.uuid4().hex


async def state(cluster: Cluster, aggregate: str, key: str) -> State | None:
    """What the changelog says, which is what the table holds."""
    records = await cluster.read(TRIAL.changelog, f"{aggregate}\0{key}".encode())
    return layout(aggregate).load(records[-1].value) if records and records[-1].value else None


async def has_version(cluster: Cluster, aggregate: str, key: str, version: int) -> bool:
    found = await state(cluster, aggregate, key)
    return found is not None and found.version >= version


async def test_a_record_is_folded_told_and_a_command_decided_and_answered(cluster: Cluster, worker: Worker) -> None:
    key = new_key()
    await cluster.producer.send(Item(key, 1, "new"))
    await cluster.producer.send(Item(key, 2, "sold"))
    await cluster.producer.send(Deposit(key, "c1", 10))
    await cluster.producer.send(Deposit(key, "c2", -10))
    await eventually(lambda: has_version(cluster, "trial.item", key, 2))
    await eventually(lambda: has_version(cluster, "trial.account", key, 1))
    assert [(m.old, m.new) for m in await cluster.rows("trial.out", key)] == [(None, "new"), ("new", "sold")]
    replies = await cluster.rows("trial.account.replies", key)
    assert [(r.command_id, r.outcome, r.version) for r in replies] == [("c1", "ACCEPTED", 1), ("c2", "REJECTED", 1)]
    (decided,) = await cluster.rows("trial.account", key)
    assert (decided.update_id, decided.balance) == (1, 10)


async def test_bad_records_are_parked_and_the_partition_goes_on(cluster: Cluster, worker: Worker) -> None:
    key = new_key()
    home = partition_of(key.encode(), cluster.kafka.partitions)
    whole = cluster.serde.encode("trial.item", Item(key, 1, "new"))
    for value in (b"no avro", whole[:-2], b"\0\x7f\xff\xff\xff" + whole[5:]):
        await cluster.send_raw("trial.item", key.encode(), value)
    await cluster.send_raw("trial.item", key.encode(), whole, partition=(home + 1) % cluster.kafka.partitions)
    await cluster.send_raw("trial.item", key.encode(), None)
    await cluster.send_raw("trial.item", key.encode(), whole)
    await eventually(lambda: has_version(cluster, "trial.item", key, 1))

    async def reasons() -> list[str]:
        letters = await cluster.read(dead_letters.TOPIC, key)
        return sorted(dict(letter.headers)[dead_letters.REASON].decode() for letter in letters)

    expected = ["not_confluent_wire", "undecodable", "unknown_schema_id", "wrong_partition"]

    async def all_there() -> bool:
        return len(await reasons()) >= len(expected)

    await eventually(all_there)
    assert await reasons() == expected


async def test_after_kill_9_nothing_is_lost_or_doubled(cluster: Cluster, tmp_path: Path) -> None:
    keys = [new_key() for _ in range(40)]
    worker = Worker(cluster.kafka, cluster.registry, tmp_path)
    await worker.until(READY)
    for number in range(1, 31):
        for key in keys:
            await cluster.producer.send_nowait(Item(key, number, f"s{number}"))
        if number in (10, 20):
            worker.kill()
            worker = Worker(cluster.kafka, cluster.registry, tmp_path)
    try:
        for key in keys:
            await eventually(lambda key=key: has_version(cluster, "trial.item", key, 30))  # type: ignore[misc]
        wanted = [f"s{number}" for number in range(1, 31)]
        for key in keys[:10]:
            assert [m.new for m in await cluster.rows("trial.out", key)] == wanted
    finally:
        worker.kill()


async def test_a_new_worker_recovers_from_the_changelog_alone(cluster: Cluster, tmp_path: Path) -> None:
    key = new_key()
    (tmp_path / "a").mkdir()
    first = Worker(cluster.kafka, cluster.registry, tmp_path / "a", 0)
    await first.until(READY)
    await cluster.producer.send(Item(key, 1, "new", "kept"))
    await eventually(lambda: has_version(cluster, "trial.item", key, 1))
    assert first.stop() == 0
    (tmp_path / "b").mkdir()
    second = Worker(cluster.kafka, cluster.registry, tmp_path / "b", 1)
    try:
        await second.until(READY)
        await cluster.producer.send(Item(key, 2, "sold"))
        await eventually(lambda: has_version(cluster, "trial.item", key, 2))
        found = await state(cluster, "trial.item", key)
        assert found is not None
        assert (found.status, found.note, found.version) == ("sold", "kept", 2)
    finally:
        second.kill()


async def test_at_least_once_refuses_a_domain_that_decides(cluster: Cluster, tmp_path: Path) -> None:
    worker = Worker(cluster.kafka, cluster.registry, tmp_path, KOUNTER_LANE__GUARANTEE="at_least_once")
    assert worker.process.wait(PATIENCE_S) == 64
    assert "KOUNTER_LANE__GUARANTEE=exactly_once" in worker.text()
