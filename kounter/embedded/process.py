"""Processes whose life is bound to ours, and one that is started again when it ends by itself."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from loguru import logger

from kounter.embedded.disk import shortage
from kounter.embedded.process_state import Keeping

PR_SET_PDEATHSIG: Final = 1
LOG_BYTES: Final = 20 << 20
STOP_GRACE_S: Final = 15.0
SPACE_LOOK_S: Final = 0.5
"""Seconds between checks of a full disk."""


class Child:
    """A process that ends when this one does, even by kill -9.

    Its guard (`kounter.embedded.guard`) holds a pipe to us and ends it at the pipe's end; should the guard itself be
    killed, the kernel ends it (Linux). Output goes to ``log``; at `LOG_BYTES` it is rotated to one older file.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.name, self.command, self.log, self.env = name, command, log, env
        log.parent.mkdir(parents=True, exist_ok=True)
        rotate(log)
        reading, writing = os.pipe()
        self._pipe: int | None = writing
        try:
            with log.open("ab") as output:
                self._guard = subprocess.Popen(
                    [sys.executable, "-m", "kounter.embedded.guard", str(reading), str(log), *command],
                    env=dict(env) if env is not None else None,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=[reading],
                    start_new_session=True,
                )
        except BaseException:
            self._close()
            raise
        finally:
            os.close(reading)

    @property
    def pid(self) -> int:
        """Returns the pid of the guard, which passes signals on and exits with the process's exit code."""
        return self._guard.pid

    def poll(self) -> int | None:
        """Returns the exit code, None while the process runs."""
        return self._guard.poll()

    def stop(self, grace: float = STOP_GRACE_S) -> int:
        """SIGTERM, then SIGKILL after ``grace`` seconds. Returns the exit code."""
        if self._guard.poll() is None:
            self._guard.send_signal(signal.SIGTERM)
            try:
                self._guard.wait(grace)
            except subprocess.TimeoutExpired:
                self.kill()
        self._close()
        return self._guard.wait()

    def kill(self) -> None:
        """SIGKILL to the process and its guard."""
        if self._guard.poll() is None:
            os.killpg(self._guard.pid, signal.SIGKILL)
            self._guard.wait()
        self._close()

    def tail(self, lines: int = 15) -> str:
        """Returns the last lines of the log."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - 16_384))
                return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])
        except OSError:
            return ""

    def _close(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None


class Supervisor:
    """Keeps a process running: restarts it after growing waits when it exits by itself."""

    FIRST_S: Final = 0.5
    LONGEST_S: Final = 15.0
    HEALTHY_S: Final = 60.0
    """Seconds of running after which the wait before a restart is reset to the first one."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        env: Mapping[str, str] | None = None,
        final: Collection[int] = (64,),
    ) -> None:
        self._begin(Child(name, command, log, env), final, lambda child: None)

    @classmethod
    def of(cls, child: Child, on_restart: Callable[[Child], None]) -> Self:
        """Keep ``child`` running, whatever its exit code; ``on_restart`` is called with each replacement. Returns the
        supervisor."""
        made = cls.__new__(cls)
        made._begin(child, (), on_restart)
        return made

    def _begin(self, child: Child, final: Collection[int], on_restart: Callable[[Child], None]) -> None:
        self.name, self.log, self._final, self._on_restart = child.name, child.log, final, on_restart
        self.waits_for = ""
        """Reason why the process is not restarted now; empty if there is none."""
        self.restarts = 0
        self.exit_code: int | None = None
        """Exit code once the process ended for good: stopped, or with one of the ``final`` codes."""
        self._stopping = threading.Event()
        self._changing = threading.Lock()
        """Lock held while one child replaces another: a stop must find the running one."""
        self._untold = False
        """Whether `on_restart` must still be called for the running child."""
        self.child = child
        self._keeping = Keeping(self.log)
        self._keeping.runs()
        self._thread = threading.Thread(target=self._watch, name=f"supervise-{self.name}", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Returns the pid of the running process."""
        return self.child.pid

    def stop(self, grace: float = STOP_GRACE_S) -> None:
        """Stop the process for good."""
        self._stopping.set()
        with self._changing:
            self.exit_code = self.child.stop(grace)
        self._thread.join(1)
        self._keeping.forget()

    def _watch(self) -> None:
        wait, began = 0.0, time.monotonic()
        while not self._stopping.wait(0.2):
            code = self.child.poll()
            if code is None:
                self._tell()
                continue
            if code in self._final:
                self.exit_code = code
                self._keeping.ended(code, self.child.tail(), None)
                return
            if self._hold(code):
                wait = 0.0
            wait = next_wait(wait, time.monotonic() - began)
            logger.warning("{} ended with {}, starting it again in {:.1f} s", self.name, code, wait)
            self._keeping.ended(code, self.child.tail(), wait)
            if self._stopping.wait(wait):
                return
            began = time.monotonic()
            with self._changing:
                if not self._stopping.is_set():
                    self._start_again()

    def _hold(self, code: int) -> bool:
        """Wait for space on the disk, and log it. Returns whether there was a wait."""
        if not (lack := shortage(self.log.parent)):
            return False
        logger.error("{} ended with {}: {}. It is started again when there is space", self.name, code, lack)
        self.waits_for = lack
        while shortage(self.log.parent) and not self._stopping.wait(SPACE_LOOK_S):
            pass
        self.waits_for = ""
        return True

    def _start_again(self) -> None:
        self.child.stop()  # it has ended; its pipe has not
        try:
            self.child = Child(self.name, self.child.command, self.log, self.child.env)
        except OSError as error:  # no memory, no space for the log: later there may be
            logger.warning("{} could not be started: {}", self.name, error)
        else:
            self.restarts += 1
            self._untold = True
            self._keeping.runs()

    def _tell(self) -> None:
        """Call `on_restart` until it succeeds: on a full disk, that takes a while."""
        if self._untold:
            with suppress(OSError):
                self._on_restart(self.child)
                self._untold = False


def next_wait(last: float, ran_s: float) -> float:
    """Returns seconds until the next start, doubling from one quick exit to the next; ``last``: the wait before (0:
    none)."""
    if ran_s >= Supervisor.HEALTHY_S:
        return Supervisor.FIRST_S
    return min(max(last * 2, Supervisor.FIRST_S), Supervisor.LONGEST_S)


def together(stops: Sequence[Callable[[], None]]) -> None:
    """Run each stop in a thread of its own. Raises the first error when all have ended."""
    with ThreadPoolExecutor(max(1, len(stops))) as pool:
        ends = [pool.submit(stop) for stop in stops]
    for end in ends:
        end.result()


def rotate(log: Path) -> None:
    """Put a log that is too big aside. It is copied and truncated, so that its writers go on appending."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        with suppress(OSError):  # a full disk: the old log is given up
            shutil.copyfile(log, log.with_suffix(".log.1"))
        os.truncate(log, 0)


def die_with_parent(sig: int = signal.SIGKILL) -> None:
    """Have the kernel signal this process when its parent ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, sig)
