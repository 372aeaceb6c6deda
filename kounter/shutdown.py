"""How a process ends when it is told to: in order if that can be, and soon in any case.

With a cluster away a commit or the leaving of a group returns much later. Whoever works here survives a kill -9, so not
to wait for it loses nothing.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Final

import uvicorn
from loguru import logger

GRACE_S: Final = 2.5
_told = threading.Event()


def end_within(seconds: float = GRACE_S) -> None:
    """Leave with 0 after so long, should the process be there still. Only the first call counts."""
    if _told.is_set():
        return
    _told.set()
    timer = threading.Timer(seconds, _leave, [seconds])
    timer.daemon = True
    timer.start()


def _leave(seconds: float) -> None:
    logger.warning("ends now: what it waits for did not come within {:.1f} s of the order to stop", seconds)
    os._exit(0)


class EndingServer(uvicorn.Server):
    """Takes the order to stop from its making on: one that came before it served was lost otherwise."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)  # while it serves it has its own, and raises them again at the end

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        end_within((self.config.timeout_graceful_shutdown or 0) + GRACE_S)
        super().handle_exit(sig, frame)
