"""Check that the system behind an address is still the same: before the first call, and after each outage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from schemas.errors import BrokenSetup, DeliveryDenied, DeliveryError, DeliveryRefused
from streams.kafka import identities
from streams.kafka.settings import KafkaSettings

AGAIN_S: Final = 600.0
"""Seconds between checks without an outage: an address may be given to another system."""
BEGIN_S: Final = 10.0
DENIED_S: Final = 30.0
"""Least seconds between checks after a denial, which may concern one call only."""


async def known_identity(kafka: KafkaSettings, system: str) -> dict[str, Any] | None:
    """Returns the identity that is kept of a system; None if there is none, or if it can't be read: it is then written
    again. Raises KafkaError."""
    try:
        return await identities.read(kafka, system)
    except BrokenSetup:
        return None


class Sure:
    """The check of one system. ``look`` raises BrokenSetup for another system, DeliveryError while it can't be checked:
    then nothing is called. All concurrent callers share one check and its error: else each would wait for the timeouts
    of all before it."""

    def __init__(self, look: Callable[[], Awaitable[None]], clock: Callable[[], float] = time.monotonic) -> None:
        self._look, self._clock = look, clock
        self._looking: asyncio.Task[None] | None = None
        self._looked: float | None = None
        """Time of the last successful check; None if the next call must check."""

    async def begin(self) -> None:
        """Check at a start, for at most `BEGIN_S`: a system that is away or slow is checked before the first call.

        Raises BrokenSetup for another system.
        """
        with suppress(DeliveryError, TimeoutError):
            async with asyncio.timeout(BEGIN_S):
                await self.ensure()

    async def ensure(self) -> None:
        """Check before a call if the last check no longer holds. Raises what ``look`` raises."""
        if self._is_sure():
            return
        if self._looking is None:
            self._looking = asyncio.create_task(self._check())
            self._looking.add_done_callback(_retrieved)
        await asyncio.shield(self._looking)  # a caller that leaves does not end the check of the others

    async def _check(self) -> None:
        try:
            await self._look()
            self._looked = self._clock()
        finally:
            self._looking = None

    def failed(self, error: DeliveryError) -> None:
        """Record that a call failed: refused data and limits are answers of a system that is reachable."""
        if isinstance(error, DeliveryRefused) or error.retry_after is not None or self._looked is None:
            return
        if not isinstance(error, DeliveryDenied) or self._clock() - self._looked > DENIED_S:
            self._looked = None

    def _is_sure(self) -> bool:
        return self._looked is not None and self._clock() - self._looked < AGAIN_S


def _retrieved(check: asyncio.Task[None]) -> None:
    """Mark the error of a check as seen: all its callers may have left."""
    if not check.cancelled():
        check.exception()
