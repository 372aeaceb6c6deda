"""The readers of the log: each is a cursor over its copy, at its own pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from schemas.errors import InvalidInput, KounterError
from schemas.fields import is_id
from tables.event_log import EventLog, Logged

MOST_READERS: Final = 100
CATCH_UP_S: Final = 5.0
"""Seconds to copy what another replica may have served already."""


class TooMany(KounterError):
    """The limit of connected readers is reached."""

    code = "too_many_readers"
    hint = "Close connections that are not needed, or start another `kounter backend`."


class Readers:
    """``catch_up(timeout_s)`` waits until the copy has all that is in the log; raises TimeoutError."""

    def __init__(self, log: EventLog, catch_up: Callable[[float], Awaitable[None]]) -> None:
        self._log, self._catch_up = log, catch_up
        self._news = asyncio.Event()
        self.count = 0
        """Readers that are connected now."""

    @property
    def last(self) -> int:
        """Returns the last number of the copy."""
        return self._log.last

    def wake(self) -> None:
        """The copy has grown."""
        self._news.set()
        self._news = asyncio.Event()

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Counts a reader. Raises TooMany."""
        if self.count >= MOST_READERS:
            raise TooMany(f"{MOST_READERS} readers are connected")
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1

    async def start_of(self, after: Any) -> int:
        """Returns the number after which a client reads: ``after`` as it came, a text, a number, or none for all.

        Raises InvalidInput for what is no number, and for one beyond the log's end: another log was read, or this one
        lost its end, and to go on would pass over changes.
        """
        if after is None or after == "":
            return 0
        if isinstance(after, bool) or not isinstance(after, int | str) or not is_id(str(after)):
            raise InvalidInput("after", f"a whole number from 0 to {self.last}", after)
        number = int(after)
        if number > self.last:
            with suppress(TimeoutError):
                await self._catch_up(CATCH_UP_S)
            if number > self.last:
                raise InvalidInput("after", f"a number up to {self.last}, the last of the log", number)
        return number

    async def pages(self, after: int) -> AsyncIterator[list[Logged]]:
        """Returns the pages above a number, then those that come, without end."""
        while True:
            news = self._news
            if self._log.last > after:
                page = await asyncio.to_thread(self._log.page, after)
                after = page[-1].update_id
                yield page
            else:
                await news.wait()
