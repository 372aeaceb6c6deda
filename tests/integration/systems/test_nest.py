"""Nest's messages end to end: bridge and worker as processes; the delivery's part is played."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from schemas.bitrix24 import CardOutcome, CardReceipt
from streams.domains import core_users
from streams.domains.crm import CRM
from streams.kafka import dead_letters
from tests.support.cluster import PATIENCE_S, Cluster, eventually

pytestmark = pytest.mark.integration
COUNT = 40
KEY = uuid.uuid4().hex.encode()


class Bridge:
    """The process, which may be killed and started again; its topics are its own."""

    def __init__(self, stack: Any, folder: Path) -> None:
        self.queue, self.answers = (f"{name}-{uuid.uuid4().hex[:8]}" for name in ("queue", "answers"))
        self._log = folder / "nest.log"
        self.env = {
            **os.environ,
            "KOUNTER_DATA_DIR": str(folder),
            "KOUNTER_KAFKA__BOOTSTRAP_SERVERS": stack.bootstrap_servers,
            "KOUNTER_REGISTRY__URL": stack.registry_url,
            "KOUNTER_NEST__QUEUE": self.queue,
            "KOUNTER_NEST__REPLIES": json.dumps({"bitrix.responses": self.answers}),
        }

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen([sys.executable, "-m", *command], env=self.env, stdout=log, stderr=log)

    async def ready(self, times: int = 1) -> None:
        await eventually(lambda: self.text().count("messages are taken from") >= times)

    def text(self) -> str:
        return self._log.read_text("utf-8")


def message(id: int, **user: Any) -> bytes:
    known = {"id": id, "full_name": "Иван Иванов", "phone": "+77001112233", "stage": "NEW", **user}
    data = {"action": "create_card", "user": known, "replyQueue": "bitrix.responses"}
    return json.dumps({"pattern": "user_created", "data": data}).encode()


async def test_each_message_is_asked_and_answered_once_though_the_bridge_dies(stack: Any, tmp_path: Path) -> None:
    bridge = Bridge(stack, tmp_path)
    first = random.randrange(10**9, 10**12)
    ids = range(first, first + COUNT)
    worker, running = bridge.start("kounter.worker", "crm", "0"), bridge.start("kounter", "source", "nest")
    try:
        async with Cluster(stack, CRM) as cluster:
            await bridge.ready()
            for n, id in enumerate(ids):
                await cluster.send_raw(bridge.queue, None, message(id), partition=n % 8)
                if n == COUNT // 2:
                    running.kill()
                    running.wait()
                    running = bridge.start("kounter", "source", "nest")
            broken = {"pattern": "user_created", "data": {"action": "create_card", "user": {"id": str(first - 1)},
                      "replyQueue": "bitrix.responses", "phone": 5}}  # fmt: skip
            broken["data"]["user"]["full_name"] = []  # type: ignore[index]
            await cluster.send_raw(bridge.queue, KEY, json.dumps(broken).encode())
            await cluster.send_raw(bridge.queue, None, message(first + COUNT, phone=None))
            await bridge.ready(2)
            await eventually(lambda: _all_asked(cluster, ids))
            for id in ids:
                done = CardReceipt(str(id), "k", None, CardOutcome.SUCCESS, 456, None, 1)
                await cluster.producer.send_nowait(done, topic=core_users.USERS)
            await eventually(lambda: _count(cluster, bridge.answers, COUNT + 2))
            await asyncio.sleep(1)
            answers = [json.loads(record.value) for record in await cluster.read(bridge.answers)]
            (letter,) = await cluster.read(dead_letters.TOPIC, KEY)
    finally:
        for process in (running, worker):
            process.terminate()
        for process in (running, worker):
            process.wait(PATIENCE_S)
    refused = [answer for answer in answers if answer["status"] == "error"]
    reasons = {answer["user"]["id"]: answer["reason"] for answer in refused}
    assert len(refused) == 2
    assert reasons[first + COUNT] == "Missing phone number"
    assert reasons[first - 1].startswith("data.user.full_name: ")
    told = Counter(answer["user"]["id"] for answer in answers if answer["status"] == "success")
    assert told == Counter(ids)
    assert all(answer["bitrix_lead_id"] == 456 for answer in answers if answer["status"] == "success")
    assert dict(letter.headers)[dead_letters.REASON] == b"invalid_envelope"


async def test_partitions_that_are_added_are_read_without_a_restart(stack: Any, tmp_path: Path) -> None:
    """Nor is any message asked twice, though more come all the while."""
    bridge = Bridge(stack, tmp_path)
    first, count = random.randrange(10**9, 10**12), 0
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.bootstrap_servers)
    running = bridge.start("kounter", "source", "nest")
    try:
        await admin.start()
        async with Cluster(stack, CRM) as cluster:
            await bridge.ready()
            await admin.create_partitions({bridge.queue: NewPartitions(10)})

            async def added() -> bool:
                await cluster.raw.client.force_metadata_update()
                return len(await cluster.raw.partitions_for(bridge.queue)) == 10

            async def noticed() -> bool:
                nonlocal count
                for partition in range(10):
                    await cluster.send_raw(bridge.queue, None, message(first + count), partition=partition)
                    count += 1
                return bridge.text().count(", 10 partitions") > 0

            await eventually(added)
            await eventually(noticed)
            await noticed()
            await eventually(lambda: _all_carried(cluster, range(first, first + count)))
    finally:
        await admin.close()
        running.terminate()
        running.wait(PATIENCE_S)


async def _all_carried(cluster: Cluster, ids: range) -> bool:
    """To where the worker takes them from, each once."""
    keys = Counter(record.key for record in await cluster.read(core_users.USERS))
    assert all(keys[str(id).encode()] <= 1 for id in ids)
    return all(keys[str(id).encode()] for id in ids)


async def _all_asked(cluster: Cluster, ids: range) -> bool:
    """Each once."""
    keys = Counter(record.key for record in await cluster.read("bitrix.commands"))
    assert all(keys[str(id).encode()] <= 1 for id in ids)
    return all(keys[str(id).encode()] for id in ids)


async def _count(cluster: Cluster, topic: str, count: int) -> bool:
    return len(await cluster.read(topic)) >= count
