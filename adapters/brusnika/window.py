"""The rows in flight to the sink: many at once, in order per key, settled in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from schemas.errors import InvalidInput
from schemas.record import contract

Row = tuple[Any, ...]
Sink = Callable[[Row], Awaitable[object]]
"""Function that returns when the row is safe. Raises InvalidInput if this row can never be taken."""


class _Flight(NamedTuple):
    row: Row
    task: asyncio.Task[None]


class Window:
    """At most ``size`` rows in flight; rows of one key one after the other, whatever the sink does inside.

    ``settled(row)`` is called for each row that needs no more care, in the order of `put`: the sink took it, or can
    never take it and ``refused(row, error)`` was called. Any other error of the sink ends the window: `failed` gets
    it, and no later row is settled, so that the feed can be asked again from the last settled one.
    """

    def __init__(
        self,
        sink: Sink,
        size: int,
        settled: Callable[[Row], None],
        refused: Callable[[Row, InvalidInput], Awaitable[None]],
    ) -> None:
        self._sink, self._size, self._settled, self._refused = sink, size, settled, refused
        self._flights: deque[_Flight] = deque()
        self._last: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._room = asyncio.Event()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def put(self, row: Row) -> None:
        """Send ``row`` on its way; waits while the window is full."""
        while len(self._flights) >= self._size and not self.failed.done():
            self._room.clear()
            await self._room.wait()
        if self.failed.done():
            return
        known = contract(type(row))
        key = (known.topics[0], getattr(row, known.key))
        task = asyncio.create_task(self._send(row, self._last.get(key)))
        self._last[key] = task
        self._flights.append(_Flight(row, task))
        task.add_done_callback(lambda done: self._landed(key, done))

    async def drain(self) -> None:
        """Wait until all rows are settled. Raises the error in `failed`."""
        while self._flights and not self.failed.done():
            await asyncio.wait({self._flights[0].task, self.failed}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0)  # `_landed`, which removes it, may be due only now
        if self.failed.done():
            self.failed.result()

    async def abort(self) -> None:
        """Cancel the rows in flight. Some may have been taken: they come again, as duplicates."""
        tasks = [flight.task for flight in self._flights]
        self._flights.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.failed.done():
            self.failed.exception()  # marks it as seen
        else:
            self.failed.cancel()

    async def _send(self, row: Row, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await before  # if it failed, this row must not overtake it
        try:
            await self._sink(row)
        except InvalidInput as error:
            await self._refused(row, error)

    def _landed(self, key: tuple[str, str], task: asyncio.Task[None]) -> None:
        if self._last.get(key) is task:
            del self._last[key]
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            if not self.failed.done():
                self.failed.set_exception(error)
            self._room.set()
            return
        while self._flights and _took(self._flights[0].task) and not self.failed.done():
            self._settled(self._flights.popleft().row)
        self._room.set()


def _took(task: asyncio.Task[None]) -> bool:
    """Returns whether a task ended without an error: a failed one may be done before its callback has run."""
    return task.done() and not task.cancelled() and task.exception() is None
