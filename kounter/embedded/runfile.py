"""The running services: ``run.json`` in the data folder, written by the process that starts a service."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil

TICKS_S: Final = 0.05
"""Seconds of tolerance: the kernel counts in hundredths of a second."""


class Service(NamedTuple):
    """A running service."""

    name: str
    pid: int
    address: str
    """``host:port`` or a URL; empty if it listens nowhere."""
    log: str
    started_at: float
    """Start of the process, seconds since the epoch: its pid alone may have been reused."""
    started_after: float = 0.0
    """Start in seconds since boot: where the kernel counts so, setting the clock moves ``started_at``."""


class RunFile:
    """The services of one data folder, without dead ones."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "run.json"

    def read(self) -> list[Service]:
        """Returns the running services, in the order of their start."""
        try:
            noted = [Service(**entry) for entry in json.loads(self._path.read_text("utf-8"))]
        except (OSError, ValueError, TypeError):  # none yet, or of another version
            return []
        return [service for service in noted if is_alive(service)]

    def get(self, name: str) -> Service | None:
        """Returns the running service of a name, None if it does not run."""
        return next((service for service in self.read() if service.name == name), None)

    def add(self, name: str, address: str = "", log: Path | str = "", pid: int | None = None) -> None:
        """Add a service, in place of one with the same name."""
        pid = os.getpid() if pid is None else pid
        try:
            started, after = start_of(psutil.Process(pid))
        except psutil.NoSuchProcess:
            started, after = time.time(), 0.0
        service = Service(name, pid, address, str(log), started, after)
        with self._locked():
            self._write([*(s for s in self.read() if s.name != name), service])

    def remove(self, name: str) -> None:
        """Remove a service."""
        with self._locked():
            self._write([service for service in self.read() if service.name != name])

    def _write(self, services: list[Service]) -> None:
        text = json.dumps([service._asdict() for service in services], indent=1)
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(text, "utf-8")
        temporary.replace(self._path)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[Any]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock


def is_alive(service: Service) -> bool:
    """Returns whether the service's process is still the one that was noted."""
    try:
        process = psutil.Process(service.pid)
        started, after = start_of(process)
        same = abs(started - service.started_at) < 2 or abs(after - service.started_after) < TICKS_S
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def start_of(process: psutil.Process) -> tuple[float, float]:
    """Returns a process's start in seconds since the epoch, and since boot."""
    started = process.create_time()
    return started, started - psutil.boot_time()
