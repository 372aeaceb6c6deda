"""Kafka and registry together, for one data folder."""

from __future__ import annotations

import fcntl
import os
import random
import time
from pathlib import Path
from typing import Final, Self, TextIO

from loguru import logger

from kounter.embedded import artifacts, ports
from kounter.embedded.artifacts import Artifacts
from kounter.embedded.broker import Broker
from kounter.embedded.errors import PortTaken, StackBusy
from kounter.embedded.process import Child, Supervisor, together
from kounter.embedded.registry import Registry
from kounter.embedded.runfile import RunFile
from kounter.embedded.service import JavaService

KAFKA_PORT: Final = 29092
REGISTRY_PORT: Final = 28081
TRIES: Final = 3
"""Tries to start, as other processes may take the free ports that were found."""
APART_S: Final = 2.0
"""Seconds within which a retry is spread at random, so that two stacks that took each other's ports do not collide
again."""
LEFTOVERS_S: Final = 15.0
"""Seconds for processes of an earlier run to exit: twice the guard's grace."""


class EmbeddedStack:
    """The embedded Kafka and registry: ``with EmbeddedStack(folder) as stack: stack.bootstrap_servers``."""

    def __init__(
        self,
        data_dir: Path,
        kafka_port: int | None = None,
        registry_port: int | None = None,
        kafka_heap_mb: int = 512,
        cache: Path | None = None,
    ) -> None:
        self._data_dir, self._cache = data_dir, cache
        self._ports, self._heap = (kafka_port, registry_port), kafka_heap_mb
        self._lock: TextIO | None = None
        self._supervisors: list[Supervisor] = []
        self.broker: Broker
        self.registry: Registry

    @property
    def bootstrap_servers(self) -> str:
        return self.broker.address

    @property
    def registry_url(self) -> str:
        return self.registry.url

    def start(self) -> Self:
        """Start both at once, in about 4 s. Raises the errors of `kounter.embedded.errors`."""
        self._take_lock()
        try:
            self._await_leftovers()
            self._start_both(artifacts.ensure(self._cache))
        except BaseException:
            self.stop()
            raise
        self._keep_running("kafka", self.bootstrap_servers, self.broker)
        self._keep_running("registry", self.registry_url, self.registry)
        return self

    def stop(self) -> None:
        """Stop both at once: neither needs the other to close its files."""
        together([supervisor.stop for supervisor in self._supervisors])
        self._supervisors.clear()
        self._stop_both()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _start_both(self, parts: Artifacts) -> None:
        """Start both, again on other ports if another process takes one in the same moment."""
        for tries_left in reversed(range(TRIES)):
            kafka_port = ports.choose(self._ports[0], KAFKA_PORT, "Kafka")
            registry_port = ports.choose(self._ports[1], REGISTRY_PORT, "the registry")
            folder, logs = self._data_dir, self._data_dir / "logs"
            self.broker = Broker(parts, folder / "kafka", kafka_port, heap_mb=self._heap, log=logs / "kafka.log")
            self.registry = Registry(parts, folder / "registry", registry_port, logs / "registry.log")
            try:
                self.registry.start()
                self.broker.start()
                self.broker.await_ready()
                self.registry.await_ready()
                return
            except PortTaken as error:
                if not tries_left:
                    raise
                self._stop_both()
                logger.info("{}; trying again", error.message)
                time.sleep(random.uniform(0, APART_S))

    def _stop_both(self) -> None:
        services: list[JavaService | None] = [getattr(self, "registry", None), getattr(self, "broker", None)]
        together([service.stop for service in services if service is not None])

    def _keep_running(self, name: str, address: str, service: JavaService) -> None:
        """Restart the service from now on when it exits by itself, on the same port and data."""

        def note(child: Child) -> None:
            service.child = child
            RunFile(self._data_dir).add(name, address, child.log, child.pid)

        assert service.child is not None
        note(service.child)
        self._supervisors.append(Supervisor.of(service.child, note))

    def _await_leftovers(self) -> None:
        """Wait for services of an earlier run: after a kill -9 they hold folder and ports for some seconds. Raises
        StackBusy."""
        deadline = time.monotonic() + LEFTOVERS_S
        run = RunFile(self._data_dir)
        while left := [service for name in ("kafka", "registry") if (service := run.get(name))]:
            if time.monotonic() > deadline:
                raise StackBusy(f"{left[0].name} of an earlier run does not end: process {left[0].pid}")
            time.sleep(0.1)

    def _take_lock(self) -> None:
        """Take the lock that allows one stack per data folder. Raises StackBusy that names the other's pid."""
        self._data_dir.mkdir(parents=True, exist_ok=True)
        lock = (self._data_dir / "stack.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            pid = lock.read().strip() or "unknown"
            lock.close()
            raise StackBusy(f"process {pid} runs a stack in {self._data_dir}") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock
