"""Whether what answers is still who it was: looked at before the first call, and after each time it was away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from schemas.errors import DeliveryDenied, DeliveryError, DeliveryRefused

AGAIN_S: Final = 600.0
"""Also without an outage: an address may be given to another one."""
BEGIN_S: Final = 10.0
DENIED_S: Final = 30.0
"""After a denial, which may be of one thing only, it is not looked at oftener."""


class Sure:
    """``look`` raises BrokenSetup for another one, DeliveryError while that can't be found out: then nothing is called.
    All who call meanwhile share one look."""

    def __init__(self, look: Callable[[], Awaitable[None]], clock: Callable[[], float] = time.monotonic) -> None:
        self._look, self._clock = look, clock
        self._looking = asyncio.Lock()
        self._looked: float | None = None
        """When it was sure; None: it is not."""

    async def begin(self) -> None:
        """At a start, which waits no longer for who is away or slow: that is looked at before the first call."""
        with suppress(DeliveryError, TimeoutError):
            async with asyncio.timeout(BEGIN_S):
                await self.ensure()

    async def ensure(self) -> None:
        """Before a call."""
        if self._is_sure():
            return
        async with self._looking:
            if not self._is_sure():
                await self._look()
                self._looked = self._clock()

    def failed(self, error: DeliveryError) -> None:
        """A call failed: refused data and limits are the answers of somebody who is there."""
        if isinstance(error, DeliveryRefused) or error.retry_after is not None or self._looked is None:
            return
        if not isinstance(error, DeliveryDenied) or self._clock() - self._looked > DENIED_S:
            self._looked = None

    def _is_sure(self) -> bool:
        return self._looked is not None and self._clock() - self._looked < AGAIN_S
