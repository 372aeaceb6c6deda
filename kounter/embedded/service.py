"""A Java service: how it is started and when it is ready."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Final

from kounter.embedded.errors import PortTaken, StartTimeout
from kounter.embedded.ports import is_free
from kounter.embedded.process import Child

READY_S: Final = 60.0
SERIAL: Final = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError")
"""JVM options for less memory and a quick start, as the embedded stack carries no long peak load. Out of memory the JVM
exits and is restarted, instead of hanging."""


class JavaService:
    """One process of the stack."""

    child: Child | None = None
    """The process, None before the start."""

    def stop(self) -> None:
        """Stop the process, which closes its files."""
        if self.child is not None:
            self.child.stop()

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        if self.child is not None:
            self.child.kill()


def await_ready(
    child: Child, is_ready: Callable[[], bool], timeout: float = READY_S, ports: Collection[int] = ()
) -> None:
    """Wait until ``is_ready()``. Raises StartTimeout with the log's end, at once if the process ends; PortTaken if
    another process took one of its ``ports`` first."""
    deadline = time.monotonic() + timeout
    while not is_ready():
        if child.poll() is not None:
            if taken := next((port for port in ports if not is_free(port)), None):
                raise PortTaken(f"{child.name}: port {taken} is in use, another process took it in the same moment")
            raise StartTimeout(f"{child.name} ended with {child.poll()}; its log {child.log} ends:\n{child.tail()}")
        if time.monotonic() > deadline:
            child.kill()
            raise StartTimeout(
                f"{child.name} was not ready in {timeout:.0f} s; its log {child.log} ends:\n{child.tail()}"
            )
        time.sleep(0.1)
