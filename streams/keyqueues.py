"""Queues by key: work is serial within a key and parallel across keys; and how far a partition has come by that."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Any, Final, Generic, TypeVar

from aiokafka.structs import OffsetAndMetadata
from loguru import logger

J = TypeVar("J")

VERSION: Final = "1"
"""Of the metadata of a committed offset."""
NOTED: Final = 11_000
"""Offsets beyond the committed one that its metadata can note: two bitmaps in base64 within Kafka's 4,096 bytes.
What lies beyond is done again after a crash, under the same ids."""


class KeyQueues(Generic[J]):
    """``work`` is called with the jobs of one key one after the other, in the order of `put`.

    Cancelling ``work`` asks it to end what can't be undone and to leave the rest; cancelling it again, to leave all.
    An error in it is told to ``failed``, and its key stands still.
    """

    def __init__(self, work: Callable[[J], Awaitable[None]], failed: Callable[[Exception], None]) -> None:
        self._work, self._failed = work, failed
        self._queues: dict[Hashable, deque[J]] = {}
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}
        self._size = 0
        self._closed = False

    def __len__(self) -> int:
        """Jobs that are not done."""
        return self._size

    def put(self, key: Hashable, job: J) -> None:
        """Add a job behind the others of its key."""
        if self._closed:
            return
        self._size += 1
        if (queue := self._queues.get(key)) is not None:
            queue.append(job)
            return
        self._queues[key] = deque([job])
        self._tasks[key] = asyncio.create_task(self._run(key))

    async def _run(self, key: Hashable) -> None:
        queue = self._queues[key]
        try:
            while queue and not self._closed:
                await self._work(queue[0])
                queue.popleft()
                self._size -= 1
        except Exception as error:
            self._failed(error)
            return  # its queue stays: nothing behind a failed job may overtake it
        if not queue:
            del self._queues[key], self._tasks[key]

    async def close(self, grace_s: float) -> None:
        """Start no more jobs, give those under way ``grace_s`` to end, abandon the others."""
        self._closed = True
        tasks = [task for task in self._tasks.values() if not task.done()]
        for again in (False, True):
            for task in tasks:
                task.cancel()
            if tasks:
                _, pending = await asyncio.wait(tasks, timeout=None if again else grace_s)
                tasks = list(pending)


class Progress:
    """What of a partition is done: a committed offset, and in its metadata what is done beyond it.

    So a record that waits for its key holds up neither the receipts of others nor makes them come twice after a crash.
    """

    def __init__(self, position: int, done: Iterable[int] = (), told: Iterable[int] = ()) -> None:
        self.next = position
        """Offset of the next record to be read."""
        self._open: dict[int, None] = {}  # read and not done, ascending
        self._done = set(done)
        self._told = set(told)
        """Records of which an error was reported while they are still being tried."""

    @classmethod
    def restore(cls, position: int, metadata: str) -> Progress:
        """Of a committed offset. Metadata that is not ours, or broken, counts as none."""
        if not metadata:
            return cls(position)
        try:
            version, done, told = metadata.split(":")
            if version == VERSION:
                return cls(position, _offsets(position, done), _offsets(position, told))
        except (ValueError, binascii.Error):
            pass
        logger.warning("metadata of a committed offset can't be read: records beyond {} may be done again", position)
        return cls(position)

    @property
    def low(self) -> int:
        """The first offset that is not done: where a successor has to begin."""
        return next(iter(self._open), self.next)

    @property
    def span(self) -> int:
        """Offsets between the first that is not done and the last that was read."""
        return self.next - self.low

    def take(self, offset: int) -> bool:
        """A record was read. False: it was done before. Offsets must ascend."""
        if offset < self.next:
            raise ValueError(f"offset {offset} was read after {self.next - 1}")
        self.next = offset + 1
        if offset in self._done:
            return False
        self._open[offset] = None
        return True

    def finish(self, offset: int) -> None:
        """A record that was taken is done."""
        del self._open[offset]
        self._done.add(offset)

    def tell(self, offset: int) -> None:
        """An error of a record that is still being tried was reported."""
        self._told.add(offset)

    def told(self, offset: int) -> bool:
        """Whether that was done, by a former owner too."""
        return offset in self._told

    def skip_to(self, position: int) -> bool:
        """Nothing but commit markers lies before ``position``. True if that is news."""
        if self._open or position <= self.next:
            return False
        self.next = position
        return True

    def mark(self) -> Any:
        """What to commit: an `OffsetAndMetadata`."""
        low = self.low
        self._done = {offset for offset in self._done if offset > low}
        self._told = {offset for offset in self._told if offset >= low}
        if not self._done and not self._told:
            return OffsetAndMetadata(low, "")
        return OffsetAndMetadata(low, f"{VERSION}:{_bitmap(low, self._done)}:{_bitmap(low, self._told)}")


def _bitmap(low: int, offsets: set[int]) -> str:
    bits = 0
    for offset in offsets:
        if offset - low < NOTED:
            bits |= 1 << (offset - low)
    return base64.b64encode(bits.to_bytes((bits.bit_length() + 7) // 8, "little")).decode()


def _offsets(low: int, bitmap: str) -> list[int]:
    bits = int.from_bytes(base64.b64decode(bitmap, validate=True), "little")
    return [low + i for i in range(min(bits.bit_length(), NOTED)) if bits >> i & 1]
