"""A chaos run from start to verdict."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streams.aggregate import Domain
from streams.domains.estate import ESTATE
from streams.kafka.consumer import committed_consumer
from streams.kafka.partitioner import partition_of
from streams.kafka.topics import ensure_topics
from streams.query.lag import LagMeter
from streams.topology import topics_of
from tests.chaos.arena import Arena, pump
from tests.chaos.faults import CALM_S, Fault
from tests.chaos.verdict import Verdict, judge
from tests.chaos.workload import Step, steps
from tests.support.cluster import Cluster
from tests.support.trial import TRIAL

DOMAINS: Final[list[Domain]] = [ESTATE, TRIAL]
WATCHED: Final = ("bitrix.commands", "trial.out")
PATIENCE_S: Final = 120.0
"""Without the workers getting any nearer to the end."""
IN_FLIGHT: Final = 2_000


class Result(NamedTuple):
    """What is printed last."""

    faults: int
    records: int
    lost: int
    doubled: int
    misordered: int
    worst_stall_s: float
    """Between two outputs of a partition."""
    oldest_unread_s: float
    """The longest that a record was seen to wait; tells more than stalls where records are few."""


class Stack(NamedTuple):
    """For `Cluster`."""

    bootstrap_servers: str
    registry_url: str


class Course:
    """``rate``: records a second while the faults go on."""

    def __init__(
        self, folder: Path, plan: Sequence[Fault], *, brokers: int, rate: float, seed: int, standby: int,
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._plan, self._rate, self._seed, self._say = plan, rate, seed, say
        self.arena = Arena(folder, [domain.name for domain in DOMAINS], brokers, self._tell)
        self.arena.standby = standby
        self._folder = folder
        self._began = time.monotonic()
        self._feeding = True
        self._sent = 0
        self._gaps: list[tuple[float, str]] = []
        self._waits: list[tuple[float, str]] = []

    async def run(self) -> tuple[Result, Verdict]:
        """Start, break, catch up, compare."""
        arena = await asyncio.to_thread(self.arena.__enter__)
        try:
            await ensure_topics(arena.kafka, topics_of(DOMAINS))
            async with Cluster(Stack(arena.kafka.bootstrap_servers, arena.registry.url), ESTATE) as cluster:
                cluster.kafka = arena.kafka
                await cluster.serde.prepare([*TRIAL.sources, *TRIAL.writes])
                for slot in (0, 1):
                    arena.start(slot)
                await pump(CALM_S, arena)
                feeding = asyncio.create_task(self._feed(cluster))
                watching = [asyncio.create_task(self._watch()), asyncio.create_task(self._watch_unread())]
                await self._break(arena)
                self._feeding = False
                await feeding
                await self._catch_up(arena)
                for task in watching:
                    task.cancel()
                for slot in arena.slots():
                    await asyncio.to_thread(arena.remove, slot, signal.SIGTERM)
                self._tell("comparing")
                verdict = await judge(DOMAINS, cluster, cluster.serde, self._folder)
        finally:
            await asyncio.to_thread(arena.__exit__)
        return self._result(verdict), verdict

    async def _break(self, arena: Arena) -> None:
        dice = random.Random(self._seed)
        for number, fault in enumerate(self._plan, start=1):
            self._tell(f"{number}/{len(self._plan)} {await fault(arena, dice)}")
            await pump(CALM_S + dice.random() * 2, arena)

    async def _feed(self, cluster: Cluster) -> None:
        """At a steady pace; what was sent once is retried by the producer until Kafka has it."""
        pending: set[asyncio.Future[Any]] = set()
        started = time.monotonic()
        for step in steps(self._seed, 10**9):
            if not self._feeding:
                break
            pending.add(await _send(cluster, step))
            self._sent += 1
            if len(pending) > IN_FLIGHT:
                _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            ahead = started + self._sent / self._rate - time.monotonic()
            if ahead > 0:
                await asyncio.sleep(ahead)
        await asyncio.gather(*pending)
        self._tell(f"{self._sent} records sent")

    async def _watch(self) -> None:
        """The longest time between two outputs of a partition, while records are fed."""
        last: dict[TopicPartition, float] = {}
        consumer = committed_consumer(self.arena.kafka)
        await consumer.start()
        try:
            partitions = range(self.arena.kafka.partitions)
            consumer.assign([TopicPartition(topic, p) for topic in WATCHED for p in partitions])
            while True:
                with suppress(KafkaError):
                    for tp in await consumer.getmany(timeout_ms=200):
                        now = time.monotonic()
                        if self._feeding and tp in last:
                            self._gaps.append((now - last[tp], f"{tp.topic} {tp.partition}"))
                        last[tp] = now
        finally:
            await consumer.stop()

    async def _watch_unread(self) -> None:
        """What stands on a topic, once a second; not while no broker answers."""
        while True:
            with suppress(KafkaError):
                async with LagMeter(self.arena.kafka) as meter:
                    while True:
                        for domain in DOMAINS:
                            for topic in (await meter.of_domain(domain)).topics:
                                self._waits.append((topic.seconds, topic.topic))
                        await asyncio.sleep(1)
            await asyncio.sleep(1)

    async def _catch_up(self, arena: Arena) -> None:
        least, since = 10**9, time.monotonic()
        async with LagMeter(arena.kafka) as meter:
            while True:
                behind = {domain.name: (await meter.of_domain(domain)).records for domain in DOMAINS}
                left = sum(behind.values())
                if not left:
                    self._tell("caught up")
                    return
                if left < least:
                    least, since = left, time.monotonic()
                if time.monotonic() - since > PATIENCE_S:
                    self._tell(f"did not catch up: {behind}")
                    return
                await pump(1, arena)

    def _result(self, verdict: Verdict) -> Result:
        worst = sorted(self._gaps, reverse=True)[:8]
        oldest = max(self._waits, default=(0.0, ""))
        for seconds, place in worst:
            self._say(f"  stall {seconds:5.1f} s  {place}")
        self._say(f"  unread {oldest[0]:4.1f} s  {oldest[1]}")
        self._say(f"  guards fired: {self.arena.guards()}; workers left by themselves: {self.arena.exits}")
        self._say(f"  {verdict.states} states, {verdict.outputs} outputs, {verdict.stores} local stores compared")
        for text in (*verdict.lost[:5], *verdict.doubled[:5], *verdict.misordered[:5]):
            self._say(f"  WRONG {text}")
        return Result(
            len(self._plan),
            verdict.records,
            len(verdict.lost) + max(0, self._sent - verdict.records),
            len(verdict.doubled),
            len(verdict.misordered),
            round(worst[0][0] if worst else 0.0, 1),
            oldest[0],
        )

    def _tell(self, text: str) -> None:
        self._say(f"{time.monotonic() - self._began:6.1f} s  {text}")


async def _send(cluster: Cluster, step: Step) -> asyncio.Future[Any]:
    if step.row is not None:
        return asyncio.ensure_future(await cluster.producer.send_nowait(step.row, topic=step.topic))
    key = step.key.encode()
    partition = partition_of(key, cluster.kafka.partitions)
    return asyncio.ensure_future(await cluster.raw.send(step.topic, step.raw, key, partition=partition))
