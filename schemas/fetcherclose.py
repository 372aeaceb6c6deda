"""Mends aiokafka 0.14: a fetcher that is closed awaits the fetches that it has just cancelled.

One that is in its back-off, as after a broker went away, ends cancelled, and that came out of `AIOKafkaConsumer.stop`
as if whoever stopped the consumer had been told to end: tasks ended without a word, and connections stayed open.
"""

from __future__ import annotations

import asyncio

from aiokafka.consumer.fetcher import Fetcher


async def _close(self: Fetcher) -> None:
    self._closed = True
    tasks = [self._fetch_task, *self._pending_tasks]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for waiter in self._fetch_waiters:
        self._notify(waiter)


def install() -> None:
    """For every consumer of this process; again: no change."""
    Fetcher.close = _close
