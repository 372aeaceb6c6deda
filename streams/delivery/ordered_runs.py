"""Jobs in the order of their partition: one run after the other, where the work within a run is parallel."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from streams.delivery.key_queues import KeyQueues

J = TypeVar("J")
MOST: Final = 200
"""Jobs of a run at most."""


class OrderedRuns(Generic[J]):
    """`KeyQueues` whose keys wait for each other.

    A run is of jobs that follow each other in the order of `put`, of the same name, and each of another key. It begins
    when the one before it is done.
    """

    def __init__(
        self,
        work: Callable[[J], Awaitable[None]],
        failed: Callable[[Exception], None],
        run_of: Callable[[bytes | None], str | None],
    ) -> None:
        """``run_of`` returns the name of the runs that a key's jobs belong to; None: each is a run of its own."""
        self._work, self._run_of = work, run_of
        self._queues: KeyQueues[J] = KeyQueues(self._do, failed)
        self._waiting: deque[tuple[bytes | None, J]] = deque()
        self._left = 0
        """Jobs of the run under way that are not done."""
        self._keys: set[bytes | None] = set()
        """Keys of the run under way."""
        self._name: str | None = None
        self._due = False
        """A run begins in a moment: records that were read together are put one after the other."""

    def __len__(self) -> int:
        """Jobs that are not done."""
        return len(self._waiting) + len(self._queues)

    def put(self, key: bytes | None, job: J) -> None:
        """Add a job behind all others."""
        self._waiting.append((key, job))
        if not self._left and not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._begin)

    async def close(self, grace_s: float) -> None:
        """Start no more jobs, give those under way ``grace_s`` to end, abandon the others."""
        await self._queues.close(grace_s)

    async def _do(self, job: J) -> None:
        await self._work(job)
        self._left -= 1
        if not self._left:
            self._begin()

    def _begin(self) -> None:
        self._due = False
        self._keys.clear()
        while self._waiting and len(self._keys) < MOST:
            key, job = self._waiting[0]
            name = self._run_of(key)
            if self._keys and (name is None or name != self._name or key in self._keys):
                return
            self._waiting.popleft()
            self._name = name
            self._keys.add(key)
            self._left += 1
            self._queues.put(key, job)
