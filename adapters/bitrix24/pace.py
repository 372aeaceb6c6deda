"""Keeps the requests of one client to the portal's rate: a bucketful at once, then as many as flow out of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from adapters.bitrix24.rate_limit import LeakyBucket

SPARE: Final = 0.1
"""Of the bucket, left empty: requests that are held up on the way arrive closer to each other than they left."""
_MOMENT_S: Final = 1e-6


class Pace:
    """For one waiter at a time."""

    def __init__(
        self,
        calls_per_s: float,
        burst: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._calls_per_s, self._burst = calls_per_s, burst
        self._bucket = LeakyBucket(self._capacity(1.0), calls_per_s, clock)
        self._sleep = sleep

    def share(self, part: float) -> None:
        """Keep to a part of the rate and of the bucket; others have the rest. ``part``: above 0, at most 1."""
        self._bucket.resize(self._capacity(part), self._calls_per_s * part)

    async def turn(self) -> None:
        """Wait until a request fits."""
        while not self._bucket.take():
            await self._sleep(self._bucket.wait() + _MOMENT_S)

    def _capacity(self, part: float) -> float:
        return max(1.0, self._burst * part * (1 - SPARE))

    def refused(self) -> None:
        """A request was refused for the rate, so others call as well: go on as if the bucket had overflowed."""
        self._bucket.overflow()
