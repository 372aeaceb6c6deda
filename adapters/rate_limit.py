"""Keeps the requests of one client to the rate that an outside system allows: a burst, then a steady flow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

SPARE: Final = 0.1
"""Share of the bucket that is left empty: delayed requests arrive closer together than they left."""
_MOMENT_S: Final = 1e-6


class LeakyBucket:
    """Each call pours one unit in, ``drain_per_s`` flow out; a call that would overflow ``capacity`` does not fit."""

    def __init__(self, capacity: float, drain_per_s: float, clock: Callable[[], float]) -> None:
        self._capacity, self._drain, self._clock = capacity, drain_per_s, clock
        self._level, self._at = 0.0, clock()

    def take(self) -> bool:
        """Pour one unit in if it fits, and return whether it did."""
        self._leak()
        if self._level + 1 > self._capacity:
            return False
        self._level += 1
        return True

    def wait(self) -> float:
        """Return the seconds until one unit fits."""
        self._leak()
        return max(0.0, self._level + 1 - self._capacity) / self._drain

    def resize(self, capacity: float, drain_per_s: float) -> None:
        """Change the limits; a smaller bucket starts full, as the client that has the rest may have filled it."""
        self._leak()
        if capacity < self._capacity:
            self._level = capacity
        self._capacity, self._drain = capacity, drain_per_s

    def overflow(self) -> None:
        """Fill the bucket and add one unit, whatever was counted: other clients pour in, too."""
        self._leak()
        self._level = self._capacity + 1

    def _leak(self) -> None:
        now = self._clock()
        self._level = max(0.0, self._level - (now - self._at) * self._drain)
        self._at = now


class Pace:
    """The turns of one client, shared by all partitions that it serves."""

    def __init__(
        self,
        calls_per_s: float,
        burst: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._calls_per_s, self._burst = calls_per_s, burst
        self._bucket = LeakyBucket(self._capacity(1.0), calls_per_s, clock)
        self._sleep, self._queue = sleep, asyncio.Lock()

    def share(self, part: float) -> None:
        """Keep to a part of the rate and of the burst; other clients have the rest. ``part``: above 0, at most 1."""
        self._bucket.resize(self._capacity(part), self._calls_per_s * part)

    async def turn(self) -> None:
        """Wait until a request fits; several waiters go in the order in which they came."""
        async with self._queue:
            while not self._bucket.take():
                await self._sleep(self._bucket.wait() + _MOMENT_S)

    def refused(self) -> None:
        """Slow down after a refusal for the rate: other clients call as well, so the bucket counts as overflowed."""
        self._bucket.overflow()

    def _capacity(self, part: float) -> float:
        return max(1.0, self._burst * part * (1 - SPARE))
