"""``kounter rebuild`` and ``kounter offsets set``, as a person calls them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from typer.testing import CliRunner

from kounter.cli import app
from kounter.settings import load
from schemas.errors import KounterError
from streams.domains import DOMAINS
from streams.group_reset import GroupBusy
from streams.kafka.offsets import committed_offsets
from tests.support.cluster import READY, Cluster, Worker, eventually
from tests.support.trial import TRIAL, Deposit, Item

pytestmark = pytest.mark.integration
LISTING = ("dead-letters", "ls", "--topic", "trial.item", "--limit", "1000", "--json")


@pytest.fixture(autouse=True)
def environment(stack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(DOMAINS, TRIAL.name, TRIAL)
    monkeypatch.setenv("KOUNTER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("KOUNTER_KAFKA__BOOTSTRAP_SERVERS", stack.bootstrap_servers)
    monkeypatch.setenv("KOUNTER_REGISTRY__URL", stack.registry_url)
    load.cache_clear()
    yield
    load.cache_clear()


async def said(*arguments: str) -> str:
    """In a thread, as it runs a loop of its own."""
    result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    if result.exception is not None:
        raise result.exception
    return result.stdout


async def test_a_domain_is_folded_again_and_no_dead_letter_is_seen_twice(stack: Any, tmp_path: Path) -> None:
    key = uuid.uuid4().hex
    account = f"trial.account\0{key}".encode()
    async with Cluster(stack, TRIAL) as cluster:

        async def is_told(times: int) -> bool:
            return len(await cluster.read("trial.out", key)) == times

        async def is_answered() -> bool:
            return len(await cluster.read("trial.account.replies", key)) == 1

        async def balance() -> int:
            (state,) = [r.value for r in (await cluster.read(TRIAL.changelog))[::-1] if r.key == account][:1] or [None]
            return 0 if state is None else int(TRIAL.by_topic["trial.account"].layout.load(state).balance)

        worker = Worker(cluster.kafka, cluster.registry, tmp_path)
        try:
            await worker.until(READY)
            await cluster.send_raw("trial.item", key.encode(), b"noise")
            await cluster.producer.send(Item(key, 1, "new"))
            await cluster.producer.send(Deposit(key, "c-1", 100))
            await eventually(lambda: is_told(1), 60)
            await eventually(is_answered, 60)
            for command in (("rebuild", "trial", "--yes"), ("offsets", "set", "trial", "trial.item", "latest")):
                with pytest.raises(GroupBusy, match="has 1 members"):
                    await said(*command)
            worker.stop()
        finally:
            worker.kill()
        before = await said(*LISTING)
        assert key in before
        assert "would be deleted: topic trial-state-changelog" in await said("rebuild", "trial", "--dry-run")
        assert await cluster.read(TRIAL.changelog)
        assert "Next: kounter worker --domain trial" in await said("rebuild", "trial", "--yes")
        assert not (tmp_path / "workers" / "0" / "trial").exists()
        assert await cluster.read(TRIAL.changelog) == []
        assert {topic for topic, _ in await committed(cluster)} == {"trial.account.commands"}, (
            "decided once and for all"
        )

        worker = Worker(cluster.kafka, cluster.registry, tmp_path)
        try:
            await eventually(lambda: is_told(2), 60)
            assert await has_come_to(balance, 100)
            await cluster.producer.send(Deposit(key, "c-2", 5))
            assert await has_come_to(balance, 105)
            worker.stop()
        finally:
            worker.kill()
        assert len(await cluster.read("trial.account", key)) == 2, "no event comes twice"
        told = await cluster.read("trial.out", key)
        assert len({dict(record.headers)["ce_id"] for record in told}) == 1, "once more, under the same id"
        assert len(await cluster.read("dead-letters", key)) == 2
        assert await said(*LISTING) == before
        await offsets_are_set(cluster)


async def offsets_are_set(cluster: Cluster) -> None:
    """`kounter offsets set` moves one partition of a group that nobody is in, and refuses what is not there."""
    place = ("offsets", "set", "trial", "trial.item:0")
    assert "(not done)" in await said(*place, "earliest", "--dry-run")
    await said(*place, "earliest")
    assert (await committed(cluster))["trial.item", 0] == 0
    await said(*place, "latest")
    with pytest.raises(KounterError, match="there is no"):
        await said(*place[:-1], "trial.item:99", "latest")
    for wrong, why in (("999999999", "none of them"), ("soon", "earliest or latest")):
        with pytest.raises(KounterError, match=why):
            await said(*place, wrong)


async def has_come_to(read: Callable[[], Awaitable[int]], wanted: int) -> bool:
    async def is_there() -> bool:
        return await read() == wanted

    await eventually(is_there, 60)
    return True


async def committed(cluster: Cluster) -> dict[tuple[str, int], int]:
    admin = AIOKafkaAdminClient(**cluster.kafka.client_options())
    await admin.start()
    try:
        found = await committed_offsets(admin, TRIAL.name)
        return {(tp.topic, tp.partition): at.offset for tp, at in found.items()}
    finally:
        await admin.close()
