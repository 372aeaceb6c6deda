"""Brokers, registry and workers of one chaos run, and what can be done to them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from kounter.embedded import artifacts
from kounter.embedded.broker import BrokerCluster
from kounter.embedded.ports import free_port
from kounter.embedded.registry import Registry
from schemas.codec.settings import RegistrySettings
from streams.kafka.settings import KafkaSettings
from tests.support.sessions import session_s

SESSION_S: Final = session_s()
GUARDS: Final = {
    "gaps": "reading again",
    "not_recovered": "not folding yet",
    "ahead": "ahead of the changelog",
    "fenced": "ProducerFenced",
}
"""What each guard says."""


class Arena:
    """``brokers`` of them, with replication as many; ``say`` is told of everything that happens."""

    def __init__(self, folder: Path, domains: list[str], brokers: int, say: Callable[[str], None]) -> None:
        parts = artifacts.ensure()
        self.folder, self.domains, self._say = folder, domains, say
        self.cluster = BrokerCluster(parts, folder, brokers)
        self._registry = Registry(parts, folder / "registry", free_port())
        self.workers: dict[tuple[str, int], subprocess.Popen[bytes]] = {}
        self.standby = 0
        self.exits: dict[int, int] = {}
        """Exit codes of workers that left by themselves."""
        self.kafka = KafkaSettings(
            bootstrap_servers=self.cluster.bootstrap_servers,
            replication_factor=brokers,
            min_insync_replicas=max(1, brokers - 1),
        )
        self.registry = RegistrySettings(url=self._registry.url)

    def __enter__(self) -> Self:
        self._registry.start()
        self.cluster.start()
        self._registry.await_ready()
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.workers.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        self._registry.kill()
        self.cluster.stop()

    def start(self, slot: int) -> None:
        """A worker of each domain."""
        for domain in self.domains:
            self._start(domain, slot)

    def _start(self, domain: str, slot: int) -> None:
        known = {
            "KOUNTER_KAFKA__BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "KOUNTER_KAFKA__REPLICATION_FACTOR": str(self.kafka.replication_factor),
            "KOUNTER_KAFKA__MIN_INSYNC_REPLICAS": str(self.kafka.min_insync_replicas),
            "KOUNTER_REGISTRY__URL": self.registry.url,
            "KOUNTER_DATA_DIR": str(self.folder / "data"),
            "KOUNTER_LANE__SESSION_TIMEOUT_S": str(SESSION_S),
            "KOUNTER_LANE__STANDBY_REPLICAS": str(self.standby),
        }
        with self.log(domain, slot).open("ab") as log:
            self.workers[domain, slot] = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.worker_main", domain, str(slot)],
                env={**os.environ, **known},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def log(self, domain: str, slot: int) -> Path:
        """Of a worker; appended to at every start."""
        return self.folder / f"worker-{domain}-{slot}.log"

    def slots(self) -> list[int]:
        """Of workers that run."""
        return sorted({slot for _, slot in self.workers})

    def signal(self, slot: int, signum: int) -> None:
        """To the workers of a slot."""
        for (_, at), process in self.workers.items():
            if at == slot and process.poll() is None:
                process.send_signal(signum)

    def remove(self, slot: int, signum: int) -> None:
        """End the workers of a slot, for good."""
        for domain in self.domains:
            process = self.workers.pop((domain, slot), None)
            if process is not None:
                process.send_signal(signum)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def supervise(self) -> None:
        """Start again what ended by itself, as a supervisor does."""
        for (domain, slot), process in list(self.workers.items()):
            code = process.poll()
            if code is not None:
                self.exits[code] = self.exits.get(code, 0) + 1
                self._say(f"worker {domain} {slot} left with {code}; started again")
                self._start(domain, slot)

    def ends(self, lines: int = 25) -> list[str]:
        """The last lines of each worker's log."""
        found = []
        for log in sorted(self.folder.glob("worker-*.log")):
            found += [f"--- {log.name}", *log.read_text("utf-8", "replace").splitlines()[-lines:]]
        return found

    def guards(self) -> dict[str, int]:
        """How often the lanes' guards fired, as the workers logged it."""
        totals = dict.fromkeys(GUARDS, 0)
        for log in self.folder.glob("worker-*.log"):
            text = log.read_text("utf-8", "replace")
            for guard, words in GUARDS.items():
                totals[guard] += text.count(words)
        return totals


async def pump(seconds: float, arena: Arena) -> None:
    """Let time pass, supervised."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(0.3)
        arena.supervise()
