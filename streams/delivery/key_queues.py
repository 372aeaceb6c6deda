"""Queues by key: work is serial within a key and parallel across keys."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

J = TypeVar("J")


class KeyQueues(Generic[J]):
    """Calls ``work`` with the jobs of one key one after the other, in the order of `put`.

    Cancelling ``work`` asks it to end the call that can't be undone and to leave the rest; cancelling it again, to
    leave all. ``failed`` is called with an error of ``work``, and its key stands still.
    """

    def __init__(self, work: Callable[[J], Awaitable[None]], failed: Callable[[Exception], None]) -> None:
        self._work, self._failed = work, failed
        self._queues: dict[Hashable, deque[J]] = {}
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}
        self._size = 0
        self._closed = False

    def __len__(self) -> int:
        """Returns the number of jobs that are not done."""
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
        """Start no more jobs, give those under way ``grace_s`` seconds to end, abandon the others."""
        self._closed = True
        tasks = [task for task in self._tasks.values() if not task.done()]
        for again in (False, True):
            for task in tasks:
                task.cancel()
            if tasks:
                _, pending = await asyncio.wait(tasks, timeout=None if again else grace_s)
                tasks = list(pending)
