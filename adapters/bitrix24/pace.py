"""Keeps the calls of one client at the portal's rate, once the portal has said that they are too many."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

RELAX_S: Final = 25.0
"""After that long without a call a full bucket of 50 has drained at 2 a second (contracts §1, Limits)."""
MARGIN: Final = 0.95
"""Of the rate: a bucket that is full refuses whoever comes a moment early."""


class Pace:
    """Free until a call is refused for its rate; from then on one after the other, until none came for `RELAX_S`."""

    def __init__(
        self,
        calls_per_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._step, self._clock, self._sleep = 1 / (calls_per_s * MARGIN), clock, sleep
        self._next = self._free_at = clock()

    async def turn(self) -> None:
        """Wait until it is this call's turn."""
        now = self._clock()
        if now >= self._free_at:
            return
        mine = max(now, self._next)
        self._next, self._free_at = mine + self._step, mine + RELAX_S
        await self._sleep(mine - now)

    def refused(self) -> None:
        """A call was refused for its rate: the bucket is full."""
        now = self._clock()
        if now >= self._free_at:
            self._next = now + self._step
        self._free_at = max(self._free_at, now + RELAX_S)
