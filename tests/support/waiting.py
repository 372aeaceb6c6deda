"""Waiting until something holds that nobody reports: at most a minute, so that a busy machine fails no test."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

PATIENCE_S: Final = 60.0


async def until(holds: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
    """Raises TimeoutError if it does not hold in time; other tasks go on meanwhile."""
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110 - there is nobody to tell us
            await asyncio.sleep(0.01)


def wait_until(holds: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
    """Raises AssertionError if it does not hold in time; the thread of the caller waits."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
