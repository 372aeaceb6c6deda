"""``python -m tests.chaos.estate``: the estate's worker and the log's writers and servers are killed, stopped and
frozen while a company changes.

At the end each client of the main backend's log has seen 1…N without gap or repeat: every change once, those of a thing
in their order, and no child before its parent.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer
from loguru import logger

from kounter.embedded.ports import free_port
from kounter.embedded.stack import EmbeddedStack
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.codec.settings import RegistrySettings
from schemas.estate import Building, City, Premise, Project, Section
from streams.domains.estate import ESTATE
from streams.kafka.producer import RecordProducer
from streams.kafka.settings import KafkaSettings
from tests.conftest import Stack
from tests.support.backend_replicas import SEAT, Follower, Replica, following, replicas_of
from tests.support.sessions import session_s
from tests.support.waiting import until

FAULT_EVERY_S: Final = 5.0
"""Seconds of flow for each fault: the rate of the changes follows from it."""
PATIENCE_S: Final = 90.0
"""Seconds without any progress."""
Say = Callable[[str], None]
FAULTS: Final = ("kill the seat", "kill a standby", "kill the worker", "freeze the seat", "stop the seat")


class Result(NamedTuple):
    """The last line of a run; the last five are sums over all clients."""

    changes: int
    faults: int
    gaps: int
    """Numbers that did not follow the one before."""
    lost: int
    doubled: int
    misordered: int
    orphans: int
    """Children before a parent."""

    @property
    def bad(self) -> bool:
        return any(self[2:])


def company(mark: str, houses: int, flats: int, edits: int, dice: random.Random) -> list[Any]:
    """Returns the changes of a company. Those of a thing are in their order, things in any: children come first, too.
    A name is the number of its change."""
    things: list[tuple[type[Any], str, dict[str, str]]] = [(City, f"c-{mark}", {})]
    for house in range(houses):
        if house % 5 == 0:
            things.append((Project, f"pr-{mark}-{house}", {"city_ext_id": f"c-{mark}"}))
        building = {"building_ext_id": f"b-{mark}-{house}"}
        things.append((Building, f"b-{mark}-{house}", {"project_ext_id": f"pr-{mark}-{house // 5 * 5}"}))
        things.append((Section, f"s-{mark}-{house}", building))
        both = building | {"section_ext_id": f"s-{mark}-{house}"}
        things += [(Premise, f"p-{mark}-{house}-{n}", both) for n in range(flats)]
    order = [thing for thing in things for _ in range(edits)]
    dice.shuffle(order)
    counts: Counter[str] = Counter()
    rows = []
    for kind, ext_id, parents in order:
        counts[ext_id] += 1
        rows.append(kind(ext_id, counts[ext_id], name=str(counts[ext_id]), **parents))
    return rows


class Course:
    """One run against a running Kafka."""

    def __init__(
        self,
        stack: Stack,
        folder: Path,
        rows: Sequence[Any],
        mark: str,
        faults: Sequence[str],
        say: Callable[[str], None],
    ) -> None:
        self._stack, self._folder, self._rows, self._mark, self._faults = stack, folder, rows, mark, faults
        self._say, self._begun = say, time.monotonic()
        self._per_second = len(rows) / (FAULT_EVERY_S * (len(faults) + 1))

    async def run(self) -> Result:
        """Returns what the clients saw."""
        worker = Replica(self._stack, self._folder / "worker", "kounter.worker", "estate", "0")
        try:
            await worker.until("are ours")
            async with replicas_of(self._stack, self._folder) as replicas, following(replicas) as followers:
                sending = asyncio.create_task(self._send())
                try:
                    await self._keep_breaking(worker, replicas, followers["web socket"])
                    await sending
                    for follower in followers.values():
                        await _grows(lambda f=follower: self._seen(f), len(self._rows))
                    await asyncio.sleep(2)  # for what would come twice
                finally:
                    sending.cancel()
                found = [self._compared(kind, follower) for kind, follower in followers.items()]
        finally:
            worker.kill()
        return Result(len(self._rows), len(self._faults), *map(sum, zip(*found, strict=True)))

    async def _send(self) -> None:
        kafka = KafkaSettings(bootstrap_servers=self._stack.bootstrap_servers)
        async with SchemaRegistry(RegistrySettings(url=self._stack.registry_url)) as registry:
            serde = Serde(registry)
            await serde.prepare(ESTATE.sources)
            async with RecordProducer(kafka, serde, "chaos") as producer:
                begun = time.monotonic()
                for n, row in enumerate(self._rows):
                    await asyncio.sleep(max(0.0, begun + n / self._per_second - time.monotonic()))
                    sent = await producer.send_nowait(row)
                await sent

    async def _keep_breaking(self, worker: Replica, replicas: list[Replica], follower: Follower) -> None:
        """One fault after the other."""
        for n, fault in enumerate(self._faults):
            await asyncio.sleep(FAULT_EVERY_S)
            seat = _seated(replicas)
            standby = next(replica for replica in replicas if replica is not seat)
            self._say(f"{time.monotonic() - self._begun:6.1f} s: {self._seen(follower):>6} seen, {n + 1}: {fault}")
            await self._break(fault, worker, seat, standby)

    async def _break(self, fault: str, worker: Replica, seat: Replica, standby: Replica) -> None:
        seats = standby.said(SEAT) + seat.said(SEAT)
        match fault:
            case "kill the seat":
                seat.kill()
                seat.start()
            case "kill a standby":
                standby.kill()
                standby.start()
            case "kill the worker":
                worker.kill()
                worker.start()
            case "freeze the seat":  # it wakes as a zombie
                seat.process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(session_s() + 2)
                seat.process.send_signal(signal.SIGCONT)
            case "stop the seat":
                await asyncio.to_thread(seat.stop)
                seat.start()
        if "seat" in fault:
            await until(lambda: standby.said(SEAT) + seat.said(SEAT) > seats)

    def _seen(self, follower: Follower) -> int:
        return sum(self._mark in (frame["data"].get("ext_id") or "") for frame in follower.frames)

    def _compared(self, kind: str, follower: Follower) -> tuple[int, int, int, int, int]:
        """Returns gaps, lost, doubled, misordered and orphans of one client."""
        ours = [frame["data"] for frame in follower.frames if self._mark in (frame["data"].get("ext_id") or "")]
        came = Counter((data["ext_id"], data["name"]) for data in ours)
        sent = Counter((row.ext_id, row.name) for row in self._rows)
        edits: dict[str, list[int]] = defaultdict(list)
        orphans = 0
        for data in ours:
            parents = [
                value for name, value in data.items() if name.endswith("_ext_id") and value and self._mark in value
            ]
            orphans += any(parent not in edits for parent in parents)
            edits[data["ext_id"]].append(int(data["name"]))
        misordered = sum(numbers != sorted(numbers) for numbers in edits.values())
        found = len(follower.wrong), (sent - came).total(), (came - sent).total(), misordered, orphans
        self._say(f"{kind}: {len(ours)} changes in {follower.connections} connections, gaps to orphans {found}")
        return found


def _seated(replicas: list[Replica]) -> Replica:
    """Returns the replica that has said last that it has the seat."""
    return max(replicas, key=lambda replica: replica.seated_at)


async def _grows(count: Callable[[], int], wanted: int) -> None:
    """Raises AssertionError if nothing comes for `PATIENCE_S`."""
    before, since = -1, time.monotonic()
    while (now := count()) < wanted:
        if now != before:
            before, since = now, time.monotonic()
        assert time.monotonic() - since < PATIENCE_S, f"stands at {now} of {wanted}"
        await asyncio.sleep(0.2)


def main(
    houses: Annotated[int, typer.Option(help="Buildings of the company.")] = 60,
    rounds: Annotated[int, typer.Option(help="How often each fault happens.")] = 4,
    seed: Annotated[int, typer.Option(help="Of what changes when.")] = 1,
) -> None:
    """Exits with 1 if a client saw anything else than 1…N."""
    logger.remove()
    dice, mark = random.Random(seed), secrets.token_hex(4)
    rows, faults = company(mark, houses, 60, 5, dice), list(FAULTS) * rounds
    dice.shuffle(faults)
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedStack(Path(folder, "stack"), free_port(), free_port()) as running,
    ):
        stack = Stack(running.bootstrap_servers, running.registry_url)
        result = asyncio.run(Course(stack, Path(folder, "run"), rows, mark, faults, print).run())
    print(json.dumps(result._asdict()))
    sys.exit(result.bad)


if __name__ == "__main__":
    typer.run(main)
