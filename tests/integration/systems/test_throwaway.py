"""A new domain and a new outside system are seen by everything, with a line each in two tables."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from streams.kafka.reader import TopicReader
from streams.kafka.settings import KafkaSettings
from tests.support.cluster import PATIENCE_S, eventually

pytestmark = pytest.mark.integration


class Newcomer:
    """Kounter with both, in a data folder of its own."""

    def __init__(self, stack: Any, folder: Path) -> None:
        self.log = folder / "log"
        self._env = {
            **os.environ,
            "KOUNTER_DATA_DIR": str(folder),
            "KOUNTER_KAFKA__BOOTSTRAP_SERVERS": stack.bootstrap_servers,
            "KOUNTER_REGISTRY__URL": stack.registry_url,
        }

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "tests.support.throwaway", *arguments], env=self._env, **options)

    async def ask(self, *commands: str) -> list[str]:
        """The output of each command."""
        process = self.start("ask", *commands, stdout=subprocess.PIPE)
        answers = json.loads((await asyncio.to_thread(process.communicate, timeout=PATIENCE_S))[0])
        return [answers[command] for command in commands]

    @asynccontextmanager
    async def running(self, *commands: str) -> AsyncIterator[None]:
        with self.log.open("ab") as log:
            processes = [self.start(*command.split(), stdout=log, stderr=log) for command in commands]
        try:
            yield
        finally:
            for process in processes:
                process.terminate()
            codes = [await asyncio.to_thread(process.wait, PATIENCE_S) for process in processes]
        assert not any(codes), self.log.read_text("utf-8")[-3_000:]


async def test_a_new_domain_and_system_need_a_line_each(stack: Any, tmp_path: Path) -> None:
    kounter = Newcomer(stack, tmp_path)
    async with kounter.running("twins post --parcels 3"):
        await eventually(lambda: "The post twin: http://" in kounter.log.read_text("utf-8"))
        async with (
            kounter.running("worker", "deliver post", "source post"),
            TopicReader(KafkaSettings(bootstrap_servers=stack.bootstrap_servers)) as topics,
        ):

            async def receipts() -> bool:
                there = await topics.has("post.responses")
                return there and len([record async for record in topics.read("post.responses")]) == 3

            await eventually(receipts)
            jobs, parked, made, replayed, lag, status = await kounter.ask(
                "jobs --json", "parked ls --system post --json", "topics --json", "replay post.responses", "lag --json",
                "status --json",
            )  # fmt: skip
    (counts,) = [one for one in json.loads(jobs) if one["system"] == "post"]
    assert (counts["completed"], counts["failed"], counts["parked"]) == (2, 1, 1)
    assert json.loads(parked)["message"] == "no such address"
    names = {topic["topic"]: topic["partitions"] for topic in json.loads(made)}
    ours = ("parcel.parcel", "parcel-state-changelog", "post.commands", "post.responses", "delivery-post-changelog")
    assert all(names[name] for name in ours)
    assert {json.loads(line)["record"].get("post_number") for line in replayed.splitlines()} == {None, 100, 101}
    assert {"parcel", "delivery-post"} <= {group["group"] for group in json.loads(lag)}
    assert {"twin-post", "worker-parcel-0", "delivery-post", "counter-post"} <= json.loads(status)["services"].keys()
