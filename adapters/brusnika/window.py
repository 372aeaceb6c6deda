"""The changes in flight to the sink: taken in batches, settled in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

from adapters.brusnika.frames import BadFrame
from schemas.errors import InvalidInput

Row = tuple[Any, ...]
MOST_BYTES: Final = 32 << 20
"""Bytes of the frames in flight, beyond one."""
MOST_ROWS: Final = 512
"""Rows of a batch. While one is under way the next is filled."""


LINGER_S: Final = 0.005
"""Seconds that a batch waits to be filled."""


class Refused(NamedTuple):
    """A frame that can't become a row."""

    raw: bytes
    """Empty for a frame that is too large to be kept."""
    bad: BadFrame
    size: int
    """Bytes of the frame."""
    above: int = 0
    """Number added to each ``update_id`` when the frame came (`Position.above`)."""


Item = Row | Refused
Sink = Callable[[Sequence[Row]], Awaitable[Sequence[InvalidInput | None]]]
"""Function that returns when the rows, in their order, are safe; for each that can never be taken, its error."""
Keep = Callable[[Sequence[Refused]], Awaitable[None]]
"""Function that returns when the refused frames are kept."""


class Window:
    """At most ``size`` changes in flight; one batch at a time goes to the sink, so that no row overtakes another of its
    key, also if a batch fails.

    ``settled(item)`` is called for each row that is safe and each frame that is kept, in the order of `put`. For a row
    that the sink can never take, ``refused(row, error)`` returns the frame to keep. Any error of the sink or of
    ``keep`` ends the window: `failed` gets it, and nothing later is settled, so that the feed can be asked again from
    the last settled one.
    """

    def __init__(
        self,
        sink: Sink,
        keep: Keep,
        size: int,
        settled: Callable[[Item], None],
        refused: Callable[[Row, InvalidInput], Awaitable[Refused]],
    ) -> None:
        self._sink, self._keep, self._size = sink, keep, size
        self._settled, self._refused = settled, refused
        self._waiting: deque[tuple[Item, int]] = deque()
        self._under_way = self._bytes = 0
        self._more, self._less = asyncio.Event(), asyncio.Event()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())

    @property
    def is_idle(self) -> bool:
        """Returns whether nothing is in flight."""
        return not self._waiting and not self._under_way

    async def put(self, item: Item, size: int = 0) -> None:
        """Send a change, whose frame has ``size`` bytes, on its way; waits while the window is full."""
        while self._is_full() and not self.failed.done():
            self._less.clear()
            await self._less.wait()
        if not self.failed.done():
            self._waiting.append((item, size))
            self._bytes += size
            self._more.set()

    def _is_full(self) -> bool:
        return len(self._waiting) + self._under_way >= self._size or self._bytes > MOST_BYTES

    async def drain(self) -> None:
        """Wait until all changes are settled. Raises the error in `failed`."""
        while not self.is_idle and not self.failed.done():
            self._less.clear()
            await self._less.wait()
        if self.failed.done():
            self.failed.result()

    async def abort(self) -> None:
        """Cancel what is in flight. Some may have been taken: it comes again, as duplicates."""
        self._waiting.clear()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self.failed.done():
            self.failed.exception()  # marks it as seen
        else:
            self.failed.cancel()

    async def _run(self) -> None:
        try:
            while True:
                await self._more.wait()
                while self._waiting:
                    if len(self._waiting) < min(MOST_ROWS, self._size):
                        await asyncio.sleep(LINGER_S)
                    batch = [self._waiting.popleft() for _ in range(min(MOST_ROWS, len(self._waiting)))]
                    self._under_way = len(batch)
                    await self._take([item for item, _ in batch])
                    self._under_way = 0
                    self._bytes -= sum(size for _, size in batch)
                    self._less.set()
                self._more.clear()
        except Exception as error:  # a sink may raise any error
            self.failed.set_exception(error)
            self._less.set()

    async def _take(self, batch: list[Item]) -> None:
        rows = [item for item in batch if not isinstance(item, Refused)]
        errors = await self._sink(rows) if rows else ()
        if any(errors):
            found = iter(errors)
            for i, item in enumerate(batch):
                if not isinstance(item, Refused) and (error := next(found)) is not None:
                    batch[i] = await self._refused(item, error)
        if kept := [item for item in batch if isinstance(item, Refused)]:
            await self._keep(kept)
        for item in batch:
            self._settled(item)
