"""The end of a process after an order to stop: orderly if that is possible, and soon in any case.

While a cluster is away, a commit or a leave request returns much later. Every process here survives a kill -9, so
nothing is lost by not waiting for it.
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
_ordered = threading.Event()


def end_within(seconds: float = GRACE_S) -> None:
    """Exit with 0 after so many seconds if the process still runs. Only the first call counts."""
    if _ordered.is_set():
        return
    _ordered.set()
    timer = threading.Timer(seconds, _leave, [seconds])
    timer.daemon = True
    timer.start()


def _leave(seconds: float) -> None:
    logger.warning("ends now: what it waits for did not come within {:.1f} s of the order to stop", seconds)
    os._exit(0)


class EndingServer(uvicorn.Server):
    """A server that obeys an order to stop from its creation on: one that came before it served was lost otherwise."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        for number in (signal.SIGTERM, signal.SIGINT):
            # While it serves, uvicorn has its own handlers, and raises the signals again at the end.
            signal.signal(number, self.handle_exit)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        end_within((self.config.timeout_graceful_shutdown or 0) + GRACE_S)
        super().handle_exit(sig, frame)
