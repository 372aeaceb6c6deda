"""Measures a worker from inside: between a tenth of the records and the last one."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any


class Meter:
    """Meter of a worker: ``add`` counts processed records, and returns True when all are processed."""

    def __init__(self, records: int) -> None:
        self._all, self._done = records, 0
        self._start: tuple[int, float, float] | None = None

    def at(self, done: int) -> bool:
        """Set the number of processed records. Returns whether all are processed."""
        self._done = done
        if self._start is None and done >= self._all / 10:
            self._start = (done, time.perf_counter(), cpu_seconds())
        return done >= self._all

    def add(self, records: int = 1) -> bool:
        """Add to the number of processed records. Returns whether all are processed."""
        return self.at(self._done + records)

    def result(self) -> dict[str, Any]:
        """Returns events a second, CPU milliseconds per thousand (all threads), peak RSS in MB."""
        assert self._start is not None
        done, began, cpu = self._start
        records = self._done - done
        return {
            "events_per_s": round(records / (time.perf_counter() - began)),
            "cpu_ms_per_1k": round((cpu_seconds() - cpu) / records * 1e6, 2),
            "rss_mb": peak_mb(),
        }


def cpu_seconds() -> float:
    """Returns CPU seconds of this process, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_mb() -> int:
    """Returns the peak resident memory of this process in MB. Not `ru_maxrss`: that begins at what the parent had when
    it forked."""
    return _status_mb("VmHWM:")


def rss_mb() -> int:
    """Returns the resident memory of this process now in MB; its peak where there is no /proc."""
    return _status_mb("VmRSS:")


def _status_mb(name: str) -> int:
    status = Path("/proc/self/status")
    if not status.exists():  # no Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    line = next(line for line in status.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) // 1024
