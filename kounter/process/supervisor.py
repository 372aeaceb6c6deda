"""The processes of one running Kounter: started in order, restarted, stopped together if none needs another."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, Self, TextIO

from loguru import logger

from kounter.connectors import TWIN
from kounter.embedded.errors import StartTimeout
from kounter.embedded.process import Supervisor, together
from kounter.embedded.runfile import RunFile, Service
from kounter.embedded.stack import EmbeddedStack
from kounter.process.identity import compared
from kounter.process.slots import take_slot
from kounter.settings import Settings
from schemas.codec.registry import SchemaRegistry
from schemas.codec.settings import RegistrySettings
from schemas.errors import EXIT_BROKEN_SETUP, BrokenSetup, RegistryUnavailable

READY_S: Final = 60.0
LINE_HEAD: Final = re.compile(r"^\S+ \S+ +CRITICAL +\S+ ")
"""The head of a line that a process logs before it exits."""


class Services:
    """Kafka and registry, unless others are set, and the services that are started on them.

    Every service that is ready is reported to ``say(name, address)``.
    """

    def __init__(self, settings: Settings, say: Callable[[str, str], None]) -> None:
        self.settings, self._say = settings, say
        self.run = RunFile(settings.data_dir)
        self._stack: EmbeddedStack | None = None
        self._running: dict[str, Supervisor] = {}
        self._env: dict[str, str] = {}
        self._slots: dict[int, TextIO] = {}

    def __enter__(self) -> Self:
        settings = self.settings
        if not settings.kafka.bootstrap_servers:
            embedded = settings.embedded
            self._stack = EmbeddedStack(
                settings.data_dir, embedded.kafka_port, embedded.registry_port, embedded.kafka_heap_mb
            ).start()
            settings.kafka.bootstrap_servers = self._stack.bootstrap_servers
            settings.registry.url = self._stack.registry_url
        else:
            asyncio.run(_ask(settings.registry))
        try:
            asyncio.run(compared(settings))
        except BaseException:
            self.__exit__()
            raise
        self._say("kafka", settings.kafka.bootstrap_servers)
        self._say("registry", settings.registry.url)
        self._env = {
            **os.environ,
            "KOUNTER_DATA_DIR": str(settings.data_dir),
            "KOUNTER_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "KOUNTER_REGISTRY__URL": settings.registry.url,
        }
        return self

    def __exit__(self, *error: object) -> None:
        try:
            # Twins are last: calls to them are in flight until the deliveries have ended.
            together([partial(self.stop, name) for name in self._running if not name.startswith(TWIN)])
        finally:  # their work in flight is done; now the services that they needed for it
            stack = [] if self._stack is None else [self._stack.stop]
            together([*(partial(self.stop, name) for name in self._running), *stack])
        for lock in self._slots.values():
            lock.close()

    def start(self, name: str, *arguments: str, module: str = "kounter", env: Mapping[str, str] | None = None) -> None:
        """Start ``python -m <module> <arguments>``; does not wait."""
        log = self.settings.data_dir / "logs" / f"{name}.log"
        command = [sys.executable, "-m", module, *arguments]
        self._running[name] = Supervisor(name, command, log, {**self._env, **(env or {})})

    def start_worker(self, domain: str, slot: int, env: Mapping[str, str] | None = None) -> str:
        """Start a worker of a domain. Returns its name. Raises BrokenSetup if a `kounter worker` has that slot."""
        if slot not in self._slots:
            self._slots[slot], _ = take_slot(self.settings.data_dir, slot)
        name = f"worker-{domain}-{slot}"
        self.start(name, domain, str(slot), module="kounter.worker", env=env)
        return name

    def await_service(self, name: str, timeout: float = READY_S) -> Service:
        """Wait until a service has put itself in the run file. Raises StartTimeout with the end of its log."""
        supervisor = self._running[name]
        deadline = time.monotonic() + timeout
        while (service := self.run.get(name)) is None:
            if supervisor.exit_code == EXIT_BROKEN_SETUP:
                raise BrokenSetup(f"{name} does not start: {_last_line(supervisor)}", hint=f"Its log: {supervisor.log}")
            if supervisor.exit_code is not None or time.monotonic() > deadline:
                raise StartTimeout(
                    f"{name} did not get ready; its log {supervisor.log} ends:\n{supervisor.child.tail()}"
                )
            time.sleep(0.1)
        self._say(name, service.address)
        return service

    def pid(self, name: str) -> int:
        """Returns the id of the process that does the work (not of its guard)."""
        service = self.run.get(name)
        return self._running[name].pid if service is None else service.pid

    def restarts(self) -> int:
        """Returns the number of restarts of all services."""
        return sum(supervisor.restarts for supervisor in self._running.values())

    def failed(self) -> list[tuple[str, int, Path]]:
        """Returns services that ended for good: name, exit code, log."""
        return [
            (name, supervisor.exit_code, supervisor.log)
            for name, supervisor in self._running.items()
            if supervisor.exit_code is not None
        ]

    def stop(self, name: str) -> None:
        """Stop one service."""
        if supervisor := self._running.pop(name, None):
            supervisor.stop()
            with suppress(OSError):  # a full disk; dead ones are never returned from there
                self.run.remove(name)


async def _ask(settings: RegistrySettings) -> None:
    """Check that the address is one of a registry. Raises BrokenSetup if not; one that does not answer yet may be
    starting."""
    async with SchemaRegistry(settings) as registry:
        try:
            await registry.subjects()
        except RegistryUnavailable as error:
            logger.warning("{} {}", error.message, error.hint)


def _last_line(supervisor: Supervisor) -> str:
    return LINE_HEAD.sub("", supervisor.child.tail(1))
