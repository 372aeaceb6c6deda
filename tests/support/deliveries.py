"""What the tests of the delivery share: topics of their own, commands, a port that fails as it is told."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from adapters.bitrix24.sink import Bitrix24Sink
from adapters.bitrix24.twin.server import Bitrix24Twin
from schemas.bitrix24 import CardAction, CardCommand, CardOutcome, CardReceipt
from schemas.errors import DeliveryUnavailable
from schemas.parking import ParkedOrder
from schemas.record import also_on
from streams.delivery.delivery import Delivery
from streams.delivery.settings import DeliverySettings
from streams.kafka import dead_letters
from streams.kafka.topics import KEPT, REMEMBERED, Topic, changelog_of, ensure_topics
from tests.support.cluster import PATIENCE_S, Cluster

STAGES = ("NEW", "IN_PROCESS", "PROCESSED", "JUNK")
QUICK = DeliverySettings(waits_s=(0.0, 0.05, 0.1), circuit_first_s=0.1, drain_s=2)


class Bench:
    """Topics of one test, what is produced to them, and what came of it."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.folder, self.id = cluster, folder, uuid.uuid4().hex[:8]
        self.topic, self.responses = f"test.{self.id}.commands", f"test.{self.id}.responses"
        self.reply, self.group = f"test.{self.id}.lead", f"test-{self.id}"
        self._numbers = 0

    async def prepare(self) -> None:
        also_on(CardCommand, self.topic)
        also_on(ParkedOrder, self.topic)
        also_on(CardReceipt, self.responses, self.reply)
        names = (self.topic, self.responses, self.reply)
        memory = Topic(changelog_of(self.group), REMEMBERED)
        dead = Topic(dead_letters.TOPIC, KEPT)
        await ensure_topics(self.cluster.kafka, [*(Topic(name, KEPT) for name in names), memory, dead])
        await self.cluster.serde.prepare(names)

    def command(self, key: str, action: CardAction, stage: str) -> CardCommand:
        self._numbers += 1
        return CardCommand(
            ext_id=f"{self.id}-{key}", command_id=f"{self._numbers}", aggregate="estate.lead", action=action,
            title=f"Lead {key}", stage=stage, comment=f"{self._numbers}", reply_topic=self.reply,
        )  # fmt: skip

    async def send(self, *commands: CardCommand) -> None:
        for sent in [await self.cluster.producer.send_nowait(c, topic=self.topic) for c in commands]:
            await sent

    def delivery(self, port: Any, settings: DeliverySettings = QUICK) -> Delivery:
        sink = Bitrix24Sink(port, port, topic=self.topic, responses=self.responses)
        kafka, serde = self.cluster.kafka, self.cluster.serde
        return Delivery(kafka, serde, sink, settings, self.folder, settles_s=0.5, group=self.group)

    async def receipts(self, topic: str) -> list[CardReceipt]:
        return [
            CardReceipt(*await self.cluster.serde.decode(topic, record.value))
            for record in await self.cluster.read(topic)
        ]

    async def all_answered(self, count: int, timeout: float = PATIENCE_S) -> list[CardReceipt]:
        """Wait until ``count`` commands have a final receipt."""
        async with asyncio.timeout(timeout):
            while True:
                found = await self.receipts(self.responses)
                final = [r for r in found if r.bitrix_outcome == CardOutcome.SUCCESS]
                if len({r.bitrix_command_id for r in final}) >= count:
                    return found
                await asyncio.sleep(0.3)


class Done(NamedTuple):
    lead_id: int
    created: bool = True


class Port:
    """Takes a moment, notes what it is asked, fails as the test says."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.calls: list[tuple[str, str, bool]] = []
        self.errors: dict[str, list[Exception]] = {}
        self.inside: set[str] = set()
        self.most = 0
        self.seconds = seconds
        self.down = False

    async def deliver(self, command: Any, attempt: int, uncertain: bool) -> Done:
        assert command.ext_id not in self.inside, "two calls of one key"
        self.inside.add(command.ext_id)
        self.most = max(self.most, len(self.inside))
        try:
            self.calls.append((command.ext_id, command.command_id, uncertain))
            await asyncio.sleep(self.seconds)
        finally:
            self.inside.discard(command.ext_id)
        if self.down:
            raise DeliveryUnavailable("down")
        if errors := self.errors.get(command.command_id):
            raise errors.pop(0)
        return Done(int(command.command_id))


def order(receipts: list[CardReceipt]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for receipt in receipts:
        found[receipt.ext_id].append(int(receipt.bitrix_command_id or 0))
    return found


def moves(bench: Bench, keys: int, each: int) -> list[CardCommand]:
    """Commands of many leads, mixed: a create, then moves."""
    found = []
    for n in range(each):
        for key in range(keys):
            action = CardAction.MOVE_CARD if n else CardAction.CREATE_CARD
            found.append(bench.command(str(key), action, STAGES[n % len(STAGES)]))
    return found


class Process:
    """A delivery process against the twin; ``where`` it kills itself, see `tests.support.delivery_worker`."""

    def __init__(self, bench: Bench, twin: Bitrix24Twin, folder: Path, where: str = "", parallel: int = 8) -> None:
        self.log = folder / "delivery.log"
        env = {
            "KOUNTER_KAFKA__BOOTSTRAP_SERVERS": bench.cluster.kafka.bootstrap_servers,
            "KOUNTER_REGISTRY__URL": bench.cluster.registry.url,
            "KOUNTER_DATA_DIR": str(folder),
            "KOUNTER_BITRIX24__WEBHOOK_URL": twin.webhook_url,
            "KOUNTER_BITRIX24__TIMEOUT_S": "1",
            "KOUNTER_BITRIX24__CALLS_PER_S": "1000",
            "KOUNTER_DELIVERY__WAITS_S": json.dumps([0, 0.1, 0.2]),
            "KOUNTER_DELIVERY__CIRCUIT_FIRST_S": "0.2",
            "KOUNTER_DELIVERY__PARALLEL": str(parallel),
        }
        arguments = [bench.topic, bench.responses, bench.reply, bench.group, where]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.delivery_worker", *arguments],
                env={**os.environ, **env},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    async def end(self, signum: int) -> int:
        self.process.send_signal(signum)
        return await asyncio.to_thread(self.process.wait, PATIENCE_S)


def history_of(twin: Bitrix24Twin, lead_id: int) -> list[int]:
    """The commands that a lead's card saw, by the comment that each of them set."""
    rows = twin.portal.store.rows("SELECT changes FROM history WHERE lead_id = ? ORDER BY id", lead_id)
    texts = [json.loads(row["changes"]).get("COMMENTS") for row in rows]
    return [int(text[-1] if isinstance(text, list) else text) for text in texts if text is not None]


def deduplicated(numbers: list[int]) -> list[int]:
    """A command that is done twice in a row changes nothing; an older one after a newer one would."""
    return [n for i, n in enumerate(numbers) if i == 0 or numbers[i - 1] != n]
