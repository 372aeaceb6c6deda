"""The demonstration's course: start all, feed, kill a worker, wait until all is through, compare, tell a story."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import time
from typing import Any, Final, NamedTuple

from rich.console import Console

from adapters.bitrix24.connector import BITRIX24
from adapters.brusnika.connector import BRUSNIKA
from adapters.brusnika.twin.changes import changes
from kounter.demo.expected import Findings, Reference, compare_cards, compare_commands, compare_states, fold_reference
from kounter.demo.probe import Probe, Progress, twin_leads
from kounter.demo.screen import Screen
from kounter.demo.story import tell
from kounter.demo.talk import talk
from kounter.embedded.ports import HOST, free_port
from kounter.history.reader import Reader
from kounter.process.start import start_all
from kounter.process.supervisor import Services
from kounter.settings import Settings
from streams.domains.estate import CARDS, ESTATE
from streams.kafka import dead_letters
from streams.kafka.reader import TopicReader

SEED: Final = 7
WORKERS: Final = 2
DELIVERY: Final = "delivery-bitrix24"
QUIET_S: Final = 2.0
"""Seconds without progress after which the run counts as complete."""
GIVE_UP_S: Final = 60.0
STORY_COMMANDS: Final = 7
"""Commands of the lead whose story is printed, at most."""
SHOWN_FINDINGS: Final = 10
"""Findings that are listed at most."""


class Plan(NamedTuple):
    """The size and the speed of a run."""

    frames: int
    per_second: float


class Result(NamedTuple):
    """The result that ``make demo ONCE=1`` prints."""

    records_in: int
    folded: int
    delivered: int
    dead_letters: int
    lost: int
    doubled: int
    seconds: float


class Show:
    """One run, in a data folder of its own that begins empty."""

    def __init__(self, settings: Settings, plan: Plan, console: Console) -> None:
        folder = settings.data_dir / "demo"
        self.settings = settings.model_copy(deep=True, update={"data_dir": folder})
        self.plan, self.console = plan, console
        self.reference: Reference = fold_reference(ESTATE, changes(SEED, plan.frames))
        self._started = 0.0

    def run(self) -> Result:
        """Run from an empty folder, and print one lead's story. Returns the result."""
        shutil.rmtree(self.settings.data_dir, ignore_errors=True)
        self._take_free_ports()
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        began = time.monotonic()
        with Services(self.settings, self._say) as services:
            start_all(
                services,
                twins=True,
                workers=WORKERS,
                systems=(BITRIX24, BRUSNIKA),
                domains=(ESTATE.name,),
                twin_options=self._twin_options(),
                but_sources=(BRUSNIKA.name,),
            )
            self.console.print(f"all ready after {time.monotonic() - began:.1f} s\n")
            return asyncio.run(self._course(services))

    def _take_free_ports(self) -> None:
        """The usual ones may be another Kounter's on this machine. The services read theirs from the environment."""
        self.settings.watch.listen = f"{HOST}:{free_port()}"
        os.environ["KOUNTER_WATCH__LISTEN"] = self.settings.watch.listen
        self.settings.gateway.listen = (f"{HOST}:{free_port()}",)
        os.environ["KOUNTER_GATEWAY__LISTEN"] = json.dumps(self.settings.gateway.listen)

    def _twin_options(self) -> dict[str, list[str]]:
        feed = ["--seed", str(SEED), "--limit", str(self.plan.frames), "--rate", str(self.plan.per_second)]
        return {BRUSNIKA.name: feed}

    def _say(self, name: str, address: str) -> None:
        self.console.print(f"[green]✓[/] {name:<20} {address}", highlight=False)

    async def _course(self, services: Services) -> Result:
        kafka, registry = services.settings.kafka, services.settings.registry
        async with Probe(kafka, registry, ESTATE, DELIVERY) as probe:
            with Screen(self.console) as screen:
                self._started = time.monotonic()
                await asyncio.to_thread(services.start, "feed-brusnika", "source", BRUSNIKA.name)
                last = await self._watch(services, probe, screen)
            seconds = time.monotonic() - self._started
            twin = services.run.get("twin-bitrix24")
            assert twin is not None
            findings = await self._compare(probe, twin.address)
            result = await self._result(probe, last, findings, seconds)
            async with TopicReader(kafka) as topics:
                await tell(self.console, Reader(kafka, topics, probe.serde), self._hero(), twin.address)
            if not await talk(self.console, services, self.settings.watch.reply_prefix):
                self.console.print("[red]a word of the talk was lost[/]")
                result = result._replace(lost=result.lost + 1)
            return result

    async def _watch(self, services: Services, probe: Probe, screen: Screen) -> Progress:
        """Wait until all frames are processed, and kill a worker half-way. Returns the last progress."""
        victim = f"worker-{ESTATE.name}-{WORKERS - 1}"
        killed = back = False
        moved_at, before = self._now(), None
        while True:
            progress = await probe.progress()
            now = self._now()
            state = "one killed" if killed and not back else f"{WORKERS} running"
            screen.show(now, progress, state)
            if not killed and progress.records_in >= self.reference.records * 0.4:
                killed = True
                pid = services.pid(victim)
                os.kill(pid, signal.SIGKILL)
                screen.note(now, f"[red]kill -9[/] of {victim} (pid {pid}) in full flow")
            elif killed and not back and services.restarts() and services.pid(victim) != pid:
                back = True
                screen.note(now, f"{victim} is back: its supervisor started it again")
            if progress != before:
                moved_at, before = now, progress
            through = progress.records_in >= self.reference.records and progress.lag == progress.waiting == 0
            if through and now - moved_at > QUIET_S:
                screen.note(now, "all is through")
                return progress
            if now - moved_at > GIVE_UP_S:
                screen.note(now, f"nothing moved for {GIVE_UP_S:.0f} s")
                return progress
            await asyncio.sleep(0.4)

    def _now(self) -> float:
        return time.monotonic() - self._started

    async def _compare(self, probe: Probe, webhook: str) -> Findings:
        found = [
            compare_states(self.reference, await probe.states()),
            compare_commands(self.reference, await probe.rows(CARDS)),
            compare_cards(self.reference, await twin_leads(webhook)),
        ]
        findings = Findings([text for f in found for text in f.lost], [text for f in found for text in f.doubled])
        for title, texts in (("lost", findings.lost), ("doubled", findings.doubled)):
            for text in texts[:SHOWN_FINDINGS]:
                self.console.print(f"[red]{title}[/]: {text}")
        return findings

    async def _result(self, probe: Probe, last: Progress, findings: Findings, seconds: float) -> Result:
        receipts = [row for row in await probe.rows("bitrix.responses") if row.bitrix_outcome == "SUCCESS"]
        letters = await probe.read(dead_letters.TOPIC)
        states: dict[Any, Any] = await probe.states()
        return Result(
            self.reference.records,
            sum(state.version for state in states.values()),
            len(receipts),
            len(letters),
            len(findings.lost),
            len(findings.doubled),
            round(seconds, 1),
        )

    def _hero(self) -> str:
        """Returns the id of a won lead with a history that fits a screen."""
        leads = {ext_id: self.reference.states["estate.lead", ext_id] for ext_id in self.reference.cards}
        won = [ext_id for ext_id, state in leads.items() if state.status == "WON"]
        return min(won or leads, key=lambda ext_id: abs(len(self.reference.cards[ext_id]) - STORY_COMMANDS))
