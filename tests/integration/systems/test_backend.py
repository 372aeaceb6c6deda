"""The way to the main backend with real processes. What they do when they are killed is tests/chaos/estate.py's."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.codec.settings import RegistrySettings
from schemas.estate import Building, City, Lead, LeadOp, LeadStatus, Premise, Project, Section
from streams.domains.estate import ESTATE
from streams.kafka.producer import RecordProducer
from streams.kafka.settings import KafkaSettings
from tests.support.backend_replicas import Follower, Replica, following, replicas_of
from tests.support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("backend-log")]


async def _send(producer: RecordProducer, rows: Sequence[Any]) -> None:
    """In small groups, so that the log is written all the while."""
    for at in range(0, len(rows), 50):
        await asyncio.gather(*[await producer.send_nowait(row) for row in rows[at : at + 50]])
        await asyncio.sleep(0.02)


async def test_what_brusnika_says_reaches_the_backend_whole(stack: Any, tmp_path: Path) -> None:
    """From the topic through the estate's worker to a client; what lacks its parent is listed, and can be released."""
    kafka, mark = KafkaSettings(bootstrap_servers=stack.bootstrap_servers), tmp_path.name
    settings = {"KOUNTER_BACKEND__WAIT_S": "1"}
    worker = Replica(stack, tmp_path / "worker", "kounter.worker", "estate", "0", **settings)
    try:
        await worker.until("are ours")
        async with (
            replicas_of(stack, tmp_path, 1, **settings) as replicas,
            SchemaRegistry(RegistrySettings(url=stack.registry_url)) as registry,
            following(replicas) as followers,
        ):
            serde = Serde(registry)
            await serde.prepare(ESTATE.sources)
            async with RecordProducer(kafka, serde, "test") as producer:
                await _send(producer, [
                    Premise(f"p-{mark}", 5, building_ext_id=f"b-{mark}", section_ext_id=f"s-{mark}", number=12),
                    Section(f"s-{mark}", 4, building_ext_id=f"b-{mark}"),
                    Building(f"b-{mark}", 3, project_ext_id=f"pr-{mark}"),
                    Project(f"pr-{mark}", 2, city_ext_id=f"c-{mark}"),
                    Lead(f"l-{mark}", 7, agent_ext_id=f"u-{mark}"),
                    LeadOp(f"l-{mark}", 8, status=LeadStatus.WON),
                    Premise(f"p2-{mark}", 9, building_ext_id=f"none-{mark}"),
                ])  # fmt: skip
                follower = followers["web socket"]
                await until(lambda: len(_ours(follower, mark)) == 2)
                assert _ours(follower, mark) == [f"l-{mark}", f"l-{mark}"]
                waiting = _kounter(stack, tmp_path, "waiting", "--json")
                assert {line["ext_id"]: line["missing"] for line in waiting if mark in line["ext_id"]} == {
                    f"p-{mark}": [f"building/b-{mark}", f"section/s-{mark}"],
                    f"s-{mark}": [f"building/b-{mark}"],
                    f"b-{mark}": [f"project/pr-{mark}"],
                    f"pr-{mark}": [f"city/c-{mark}"],
                    f"p2-{mark}": [f"building/none-{mark}"],
                }
                await _send(producer, [City(f"c-{mark}", 1, name="Тюмень")])
                await until(lambda: len(_ours(follower, mark)) == 7)
            assert _ours(follower, mark)[2:] == [f"{thing}-{mark}" for thing in ("c", "pr", "b", "s", "p")]
            released = _kounter(stack, tmp_path, "waiting", "release", f"p2-{mark}", "--type", "premise", "--json")
            assert released == [{"released": [f"premise/p2-{mark}"], "dry_run": False}]
            await until(lambda: len(_ours(follower, mark)) == 8)
            assert follower.wrong == []
            assert replicas[0].stop() == 0
    finally:
        worker.kill()


def _ours(follower: Follower, mark: str) -> list[str]:
    found = [frame["data"] for frame in follower.frames]
    ids = [data.get("ext_id") or data.get("lead_ext_id", "") for data in found]
    return [ext_id for ext_id in ids if ext_id.endswith(f"-{mark}")]


def _kounter(stack: Any, folder: Path, *arguments: str) -> list[Any]:
    env = {
        **os.environ,
        "KOUNTER_KAFKA__BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "KOUNTER_REGISTRY__URL": stack.registry_url,
        "KOUNTER_DATA_DIR": str(folder / "worker"),
    }
    done = subprocess.run([sys.executable, "-m", "kounter", *arguments], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
