"""``python -m tests.chaos.delivery``: deliveries are killed while cards flow and the portal fails one call in ten.

At the end the portal's twin says what it saw: each lead once, its last state right, its commands in their order.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from loguru import logger

from adapters.bitrix24.twin.faults import Fault
from adapters.bitrix24.twin.server import Bitrix24Twin
from adapters.twin_kit.faults import Way
from kounter.embedded.ports import free_port
from kounter.embedded.stack import EmbeddedStack
from schemas.bitrix24 import CardAction, CardCommand, CardOutcome
from streams.query.lag import LagMeter
from tests.conftest import Stack
from tests.support.cluster import Cluster, eventually
from tests.support.deliveries import STAGES, Bench, Process, deduplicated, history_of, order
from tests.support.trial import TRIAL

WAYS = (
    Way.HANG_BEFORE, Way.HANG_AFTER, Way.CUT_AFTER, Way.ERROR_AFTER, Way.BAD_GATEWAY, Way.NOT_JSON,
    "INTERNAL_SERVER_ERROR", "ERROR_UNEXPECTED_ANSWER", "QUERY_LIMIT_EXCEEDED",
)  # fmt: skip
FAILING = 0.1
"""Of all calls, by all ways together."""
LIMITED = 10
"""Answers of 429: each holds all calls for a second."""
SLOTS = 2
PARALLEL = 100
"""Calls of each: more than go into one batch."""
PARTS = 5
"""Commands of a card."""
PATIENCE_S = 120.0
"""Without a new receipt."""


class Result(NamedTuple):
    """The last line; all but the first two must be 0."""

    cards: int
    kills: int
    lost: int
    """Cards without a lead, or commands without their receipt."""
    doubled: int
    """Leads more than one of a card, or receipts more than one of a command."""
    misordered: int
    """Cards whose lead saw their commands, or whose receipts came, in another order."""
    wrong: int
    """Leads that do not stand where their last command put them."""
    miscounted: int
    """Commands more or less than the deliveries have counted as completed."""

    @property
    def bad(self) -> bool:
        return any(self[2:])


def story(bench: Bench, cards: int, dice: random.Random) -> list[CardCommand]:
    """Each card is made, then moved, changed, and made again, as for a thing that was deleted and came back; those of
    different cards mixed, those of one in order."""
    turns = [card for card in range(cards) for _ in range(PARTS)]
    dice.shuffle(turns)
    seen: Counter[int] = Counter()
    found = []
    for card in turns:
        first, seen[card] = not seen[card], seen[card] + 1
        action = CardAction.CREATE_CARD if first else dice.choice(list(CardAction))
        command = bench.command(str(card), action, dice.choice(STAGES))
        if action != CardAction.MOVE_CARD:
            command = command._replace(phone=f"+7700{dice.randrange(10**7):07}")
        found.append(command)
    return found


async def keep_killing(
    processes: list[Process], start: Callable[[], Process], kills: int, commands: int, twin: Bitrix24Twin,
    dice: random.Random, say: Callable[[str], None],
) -> int:  # fmt: skip
    """Kill one after the other, spread over the run by how much the portal has seen. Returns how many."""
    begun = time.monotonic()
    for kill in range(kills):
        wanted = commands * (kill + 0.5) / (kills + 1)
        await eventually(lambda mark=wanted: seen(twin) >= mark, PATIENCE_S)  # type: ignore[misc]
        await asyncio.sleep(dice.random() / 2)
        slot = dice.randrange(len(processes))
        await processes[slot].end(signal.SIGKILL)
        processes[slot] = start()
        say(f"{time.monotonic() - begun:6.1f} s: killed {kill + 1} of {kills}")
    return kills


def seen(twin: Bitrix24Twin) -> int:
    """Changes of leads."""
    return int(twin.portal.store.rows("SELECT count(*) AS n FROM history")[0]["n"])


async def run(stack: Stack, folder: Path, cards: int, kills: int, seed: int, say: Callable[[str], None]) -> Result:
    """One run against a running Kafka."""
    dice = random.Random(seed)
    # Its clock is late, so that the client's waits for the end of a 429 are the shortest.
    async with Cluster(stack, TRIAL) as cluster, Bitrix24Twin(seed=seed) as twin:
        bench = Bench(cluster, folder)
        await bench.prepare()
        rate = FAILING / len(WAYS)
        faults = [Fault(str(way), rate, seconds=1.5) for way in WAYS]
        twin.faults.plan(*faults, Fault("OPERATION_TIME_LIMIT", rate, LIMITED), Fault("slow", seconds=0.02))
        commands = story(bench, cards, dice)

        def start() -> Process:
            return Process(bench, twin, folder, parallel=PARALLEL)

        processes = [start() for _ in range(SLOTS)]
        try:
            await bench.send(*commands)
            done = await keep_killing(processes, start, kills, len(commands), twin, dice, say)
            await all_answered(bench, len(commands))
        finally:
            for process in processes:
                await process.end(signal.SIGTERM)
        say(f"faults: {dict(twin.faults.fired)}")
        return await verdict(bench, twin, commands, done)


async def all_answered(bench: Bench, count: int) -> None:
    """Wait until all commands have their receipt, or for too long nothing came."""
    before, since = -1, time.monotonic()
    while before < count and time.monotonic() - since < PATIENCE_S:
        receipts = await bench.receipts(bench.responses)
        now = len({r.bitrix_command_id for r in receipts if r.bitrix_outcome == CardOutcome.SUCCESS})
        if now > before:
            before, since = now, time.monotonic()
        await asyncio.sleep(1.0)


async def verdict(bench: Bench, twin: Bitrix24Twin, commands: list[CardCommand], kills: int) -> Result:
    """Compare what the portal and the topics have with what was sent."""
    leads = [json.loads(row["doc"]) | dict(row) for row in twin.portal.store.rows("SELECT * FROM leads")]
    by_card = Counter(lead["born_origin"] for lead in leads)
    sent: dict[str, list[CardCommand]] = {}
    for command in commands:
        sent.setdefault(command.ext_id, []).append(command)
    receipts = [r for r in await bench.receipts(bench.responses) if r.bitrix_outcome == CardOutcome.SUCCESS]
    told = Counter(r.bitrix_command_id for r in receipts)
    answers = order(list({r.bitrix_command_id: r for r in receipts}.values()))
    misordered = wrong = 0
    for lead in leads:
        own = sent[lead["born_origin"].partition(":")[2]]
        numbers = [int(command.command_id) for command in own]
        misordered += deduplicated(history_of(twin, lead["id"])) != numbers or answers.get(own[0].ext_id) != numbers
        wrong += (lead["STATUS_ID"], lead["COMMENTS"]) != (own[-1].stage, own[-1].comment)
    async with LagMeter(bench.cluster.kafka) as meter:
        counted = sum(one.tally.completed for one in await meter.progress(bench.group, bench.topic))
    return Result(
        cards=len(sent),
        kills=kills,
        lost=len(sent) - len(by_card) + len(commands) - len(told),
        doubled=sum(by_card.values()) - len(by_card) + sum(told.values()) - len(told),
        misordered=misordered,
        wrong=wrong,
        miscounted=abs(counted - len(commands)),
    )


def main(
    cards: Annotated[int, typer.Option(help="Each is made, moved and changed.")] = 2_000,
    kills: Annotated[int, typer.Option(help="kill -9 of a delivery.")] = 20,
    seed: Annotated[int, typer.Option(help="Of cards, faults and kills.")] = 1,
) -> None:
    """Needs nothing that runs; KOUNTER_TEST_KAFKA and KOUNTER_TEST_REGISTRY name running ones to use instead."""
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if kafka := os.environ.get("KOUNTER_TEST_KAFKA"):
            stack = Stack(kafka, os.environ["KOUNTER_TEST_REGISTRY"])
            result = asyncio.run(run(stack, folder, cards, kills, seed, print))
        else:
            with EmbeddedStack(folder / "stack", free_port(), free_port()) as running:
                own = Stack(running.bootstrap_servers, running.registry_url)
                result = asyncio.run(run(own, folder, cards, kills, seed, print))
    print(json.dumps(result._asdict()))
    raise typer.Exit(result.bad)


if __name__ == "__main__":
    typer.run(main)
