"""``python -m tests.chaos.domofon``: bridge, worker and both deliveries are killed while abonents write to the company.

At the end the operator's twin says what it heard: each message acknowledged once, in the abonent's order; and the
portal's twin shows its timelines: a lead of each abonent, with each message as a comment, once, in the same order.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from loguru import logger

from adapters.bitrix24.comments import mark
from adapters.bitrix24.twin.server import Bitrix24Twin
from adapters.rosdomofon.twin.kafka import TwinOperator
from adapters.rosdomofon.twin.server import RosDomofonTwin
from kounter.embedded.ports import free_port
from kounter.embedded.stack import EmbeddedStack
from streams.kafka.settings import KafkaSettings
from tests.conftest import Stack
from tests.support.stage import Stage

ABONENTS: Final = 100
PER_SECOND: Final = 100
PARTITIONS: Final = 1
"""Of the operator's topics: records have no key there, so it is by partition that they have an order."""
PATIENCE_S: Final = 90.0
"""Without any progress."""
LEADS: Final = "SELECT id, json_extract(doc, '$.ORIGIN_ID') AS o FROM leads"
Said = dict[int, list[int]]
"""By abonent, in their order."""


class Result(NamedTuple):
    """What the last line says."""

    messages: int
    kills: int
    lost: int
    doubled: int
    misordered: int

    @property
    def bad(self) -> bool:
        return bool(self.lost or self.doubled or self.misordered)


class Course:
    """One run against a running Kafka, with a company of its own."""

    def __init__(self, stack: Stack, folder: Path, messages: int, kills: int, seed: int, say: Callable[[str], None]):
        self._stack, self._folder, self._say = stack, folder, say
        self._messages, self._kills = messages, kills
        self._dice = random.Random(seed)
        self._company = f"C_{secrets.token_hex(4)}"
        self._begun = time.monotonic()

    async def run(self) -> Result:
        """All of it."""
        kafka = KafkaSettings(bootstrap_servers=self._stack.bootstrap_servers)
        async with (
            RosDomofonTwin(db_path=self._folder / "twin.sqlite") as twin,
            TwinOperator(kafka, twin.operator, [self._company], partitions=PARTITIONS) as said,
            Bitrix24Twin() as portal,
        ):
            first = random.randrange(10**9, 10**12)  # no abonent of another run
            for n in range(ABONENTS):
                twin.operator.add_abonent(79_000_000_000 + n, first + n)
            theirs = twin.settings()
            async with Stage(self._stack, self._folder, [self._company], theirs, portal=portal.webhook_url) as stage:
                sending = asyncio.create_task(self._send(said, first))
                try:
                    await self._keep_killing(stage, said)
                    await sending
                    await _grows(said.count, self._messages)
                    await _grows(lambda: sum(map(len, _timelines(portal, first)[0].values())), self._messages)
                    await asyncio.sleep(3)  # what would come twice
                finally:
                    sending.cancel()
            return await self._verdict(said, portal, first)

    async def _send(self, said: TwinOperator, first: int) -> None:
        begun = time.monotonic()
        for n in range(self._messages):
            await asyncio.sleep(max(0.0, begun + n / PER_SECOND - time.monotonic()))
            await said.abonent_says(self._company, first + n % ABONENTS, str(n))

    async def _keep_killing(self, stage: Stage, said: TwinOperator) -> None:
        """One after the other, spread over the run by how much was acknowledged."""
        parts = list(stage.parts)
        for kill in range(self._kills):
            await _grows(said.count, int(self._messages * (kill + 0.5) / (self._kills + 1)))
            await asyncio.sleep(self._dice.random() / 2)
            part = parts[kill] if kill < len(parts) else self._dice.choice(parts)
            await stage.kill(part)
            passed = time.monotonic() - self._begun
            self._say(f"{passed:6.1f} s: {said.count():>5} acknowledged, kill {kill + 1} of {self._kills}: {part}")

    async def _verdict(self, said: TwinOperator, portal: Bitrix24Twin, first: int) -> Result:
        """An acknowledgement has the time of its message; a comment has its words."""
        asked, texts = self._by_abonent(await self._read(f"MESSAGES_IN_{self._company}"), "fromAbonent")
        answered, _ = self._by_abonent(await self._read(f"MESSAGES_OUT_{self._company}"), "toAbonents")
        comments, doubled_leads = _timelines(portal, first)
        found = [_compared(asked, answered), _compared(texts, comments), (0, doubled_leads, 0)]
        assert said.count() + len(said.wrong()) == sum(map(len, answered.values())), "the twin's log is the topic"
        for name, (lost, doubled, misordered) in zip(("acknowledgements", "comments", "leads"), found, strict=True):
            self._say(f"{name}: {lost} lost, {doubled} doubled, {misordered} abonents out of order")
        return Result(sum(map(len, asked.values())), self._kills, *map(sum, zip(*found, strict=True)))

    async def _read(self, topic: str) -> list[Any]:
        """All records of one of the operator's topics."""
        found: list[Any] = []
        async with AIOKafkaConsumer(bootstrap_servers=self._stack.bootstrap_servers) as consumer:
            tps = [TopicPartition(topic, p) for p in range(PARTITIONS)]
            consumer.assign(tps)
            await consumer.seek_to_beginning(*tps)
            ends = await consumer.end_offsets(tps)
            while any([await consumer.position(tp) < ends[tp] for tp in tps]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += records
        return found

    def _by_abonent(self, records: list[Any], field: str) -> tuple[Said, Said]:
        """Times, and the numbers that were said, each in the order of its abonent."""
        times: Said = defaultdict(list)
        texts: Said = defaultdict(list)
        for record in records:
            doc = json.loads(record.value)
            who = doc[field][0] if isinstance(doc[field], list) else doc[field]
            times[who["id"]].append(record.timestamp)
            if doc["localizedPush"]:
                texts[who["id"]].append(int(doc["localizedPush"]["message"]))
        return times, texts


async def _grows(count: Callable[[], int], wanted: int) -> None:
    """Wait until there are so many, or nothing came for too long."""
    before, since = -1, time.monotonic()
    while before < wanted and time.monotonic() - since < PATIENCE_S:
        if (now := count()) > before:
            before, since = now, time.monotonic()
        await asyncio.sleep(0.2)


def _timelines(portal: Bitrix24Twin, first: int) -> tuple[Said, int]:
    """The numbers in the timelines of the abonents' leads, and how many leads are more than one of an abonent."""
    owners = {f"abonent:{first + n}": first + n for n in range(ABONENTS)}
    leads = {row["id"]: owners[row["o"]] for row in portal.portal.store.rows(LEADS) if row["o"] in owners}
    comments: Said = defaultdict(list)
    for row in portal.portal.store.rows("SELECT entity_id, comment FROM comments ORDER BY id"):
        if row["entity_id"] in leads:
            text: str = row["comment"]
            assert mark(text), "it ends with its command's id"
            comments[leads[row["entity_id"]]].append(int(text.partition("\n")[0]))
    return comments, len(leads) - len(set(leads.values()))


def _compared(wanted: Said, found: Said) -> tuple[int, int, int]:
    """Lost, doubled, and abonents whose order is another one."""
    lost = doubled = misordered = 0
    for abonent in wanted.keys() | found.keys():
        asked, came = Counter(wanted.get(abonent, ())), Counter(found.get(abonent, ()))
        lost += (asked - came).total()
        doubled += (came - asked).total()
        misordered += found.get(abonent, []) != sorted(found.get(abonent, []))
    return lost, doubled, misordered


def main(
    messages: Annotated[int, typer.Option(help="Of a hundred abonents in turn.")] = 5_000,
    kills: Annotated[int, typer.Option(help="kill -9 of bridge, worker or a delivery.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the kills.")] = 1,
) -> None:
    """Needs nothing that runs; KOUNTER_TEST_KAFKA and KOUNTER_TEST_REGISTRY name running ones to use instead."""
    logger.remove()
    logger.add(sys.stderr, level="ERROR")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if kafka := os.environ.get("KOUNTER_TEST_KAFKA"):
            stack = Stack(kafka, os.environ["KOUNTER_TEST_REGISTRY"])
            result = asyncio.run(Course(stack, folder, messages, kills, seed, print).run())
        else:
            with EmbeddedStack(folder / "stack", free_port(), free_port()) as running:
                own = Stack(running.bootstrap_servers, running.registry_url)
                result = asyncio.run(Course(own, folder, messages, kills, seed, print).run())
    print(json.dumps(result._asdict()))
    raise typer.Exit(result.bad)


if __name__ == "__main__":
    typer.run(main)
