"""The state of a process that is kept running, in a file beside its log: `kounter status` is another process than the
supervisor, and the run file only lists running processes."""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from kounter.embedded.runfile import Service, is_alive, start_of

SUFFIX: Final = ".kept.json"
RECENT_S: Final = 600.0
"""Seconds for which an exit is remembered."""
MOST_ENDS: Final = 50
FLAPPING_S: Final = 120.0
"""Seconds. A process that exited more than once within them counts as not running, even if it runs at the moment."""
MARKED: Final = re.compile(r"\b(CRITICAL|ERROR|FATAL)\b|^(\w+\.)*\w+(Error|Exception)\b")
LONGEST: Final = 300


class Kept(NamedTuple):
    """The state of a process, written by its supervisor."""

    name: str
    log: str
    keeper: int
    """Pid of the supervisor; the next two fields are its start, as in `runfile.Service`."""
    keeper_started: float
    keeper_after: float
    ends: list[list[float]]
    """Time and exit code of each exit by itself, oldest first."""
    again_at: float | None
    """Time of the next start, None if none is due."""
    code: int | None
    """Exit code if it ended for good, else None."""
    error: str
    """The most telling line of its log at its last exit."""

    @property
    def recent(self) -> list[list[float]]:
        """Returns the exits of the last `RECENT_S` seconds."""
        return [end for end in self.ends if time.time() - end[0] < RECENT_S]

    def state(self, *, is_ready: bool) -> str:
        """Returns a word for the state; ``is_ready``: the process is in the run file."""
        if self.code is not None:
            return "ended"
        flaps = sum(time.time() - at < FLAPPING_S for at, _ in self.ends) > 1
        if self.again_at is not None or flaps or (self.recent and not is_ready):
            return "restarting"
        return "running" if is_ready else "starting"


class Keeping:
    """The state file of one process."""

    def __init__(self, log: Path) -> None:
        self._log, self._file = log, log.with_suffix(SUFFIX)
        self._ends: list[list[float]] = []
        self._error = ""
        me = psutil.Process()
        self._keeper = (me.pid, *start_of(me))

    def runs(self) -> None:
        """Note that the process was started."""
        self._write(None, None)

    def ended(self, code: int, tail: str, again_in: float | None) -> None:
        """Note that the process exited by itself; ``again_in``: seconds until its restart, None: it ended for good."""
        self._ends = [*self._ends, [time.time(), code]][-MOST_ENDS:]
        self._error = telling(tail)
        if again_in is None:
            self._write(None, code)
        else:
            self._write(time.time() + again_in, None)

    def forget(self) -> None:
        """Delete the state: the process is stopped on purpose."""
        with suppress(OSError):
            self._file.unlink(missing_ok=True)

    def _write(self, again_at: float | None, code: int | None) -> None:
        kept = Kept(self._log.stem, str(self._log), *self._keeper, self._ends, again_at, code, self._error)
        temporary = self._file.with_suffix(f".{os.getpid()}")
        with suppress(OSError):  # a full disk: to keep the process running matters more
            temporary.write_text(json.dumps(kept._asdict()), "utf-8")
            temporary.replace(self._file)


def kept_in(logs: Path) -> list[Kept]:
    """Returns the states of processes whose supervisor runs."""
    found = []
    for file in sorted(logs.glob(f"*{SUFFIX}")):
        with suppress(OSError, ValueError, TypeError):  # just gone, or of another version
            kept = Kept(**json.loads(file.read_text("utf-8")))
            if is_alive(Service(kept.name, kept.keeper, "", "", kept.keeper_started, kept.keeper_after)):
                found.append(kept)
    return found


def telling(tail: str) -> str:
    """Returns the most telling line of a log's end: the last one that is marked as an error, else the last."""
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    marked = [line for line in lines if MARKED.search(line)]
    return (marked or lines or [""])[-1][:LONGEST]
