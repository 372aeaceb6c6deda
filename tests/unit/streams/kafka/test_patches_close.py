"""Closing a consumer's fetcher is not taken for an order to end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from aiokafka.consumer.fetcher import Fetcher

from streams.kafka import patches

patches.install()


async def test_a_fetch_in_its_back_off_does_not_end_who_stops_the_consumer() -> None:
    """Opening a delivery's partitions ended without a word when a broker had gone: they stood until a restart."""
    told: list[Any] = []
    fetches = [asyncio.create_task(asyncio.sleep(60)) for _ in range(3)]
    await asyncio.sleep(0)
    fetcher: Any = SimpleNamespace(
        _closed=False,
        _fetch_task=fetches[0],
        _pending_tasks=set(fetches[1:]),
        _fetch_waiters=["w"],
        _notify=told.append,
    )
    await Fetcher.close(fetcher)
    assert fetcher._closed
    assert all(task.cancelled() for task in fetches)
    assert told == ["w"]
