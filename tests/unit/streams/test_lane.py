"""The lane's queue: how much it holds, how much goes in one transaction."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from streams.lane import MOST_BYTES, Lane, LaneSettings


def new_lane() -> Lane:
    """One that has not begun."""
    lanes: Any = SimpleNamespace(settings=LaneSettings(max_records=100))
    store: Any = None
    lane = Lane(lanes, 0, store, store)
    lane._task.cancel()
    return lane


def message(records: int, weight: int) -> Any:
    return SimpleNamespace(value=[None] * records, weight=weight)


async def test_a_transaction_takes_so_many_records_or_bytes() -> None:
    lane = new_lane()
    for batch in (message(60, 10), message(40, 10), message(60, 10), message(1, MOST_BYTES), message(1, 1)):
        await lane.put(batch)
    assert [[len(m.value) for m in lane._take()] for _ in range(4)] == [[60, 40], [60], [1], [1]]


async def test_a_lane_that_is_full_lets_its_reader_wait() -> None:
    lane = new_lane()
    for _ in range(2):
        await lane.put(message(1, MOST_BYTES))
    putting = asyncio.create_task(lane.put(message(1, 1)))
    await asyncio.sleep(0)
    assert not putting.done()
    lane._take()
    await putting
