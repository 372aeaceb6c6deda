"""The window: many rows in flight, ordered per key, settled in the order in which they came."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from adapters.brusnika.window import Row, Window
from schemas.errors import InvalidInput
from schemas.estate import City


class Sink:
    """Takes rows after a random while; refuses and fails on request."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.most = self.now = 0
        self.fail: set[int] = set()
        self.refuse: set[int] = set()
        self._random = random.Random(1)

    async def __call__(self, row: Any) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(self._random.random() / 200)
        self.now -= 1
        if row.update_id in self.fail:
            raise ConnectionError("sink down")
        if row.update_id in self.refuse:
            raise InvalidInput("name", "less", "much")
        self.taken.append(row)


class Desk:
    """A window with a sink, and what it said."""

    def __init__(self, size: int = 8) -> None:
        self.sink = Sink()
        self.settled: list[int] = []
        self.refused: list[int] = []
        self.window = Window(self.sink, size, self._settle, self._refuse)

    def _settle(self, row: Row) -> None:
        self.settled.append(row[1])

    async def _refuse(self, row: Row, error: InvalidInput) -> None:
        self.refused.append(row[1])

    async def put(self, n: int, keys: int = 5) -> None:
        for i in range(n):
            await self.window.put(City(f"c{i % keys}", i))


async def test_rows_of_a_key_stay_in_order_and_all_settle_in_order() -> None:
    desk = Desk()
    await desk.put(200)
    await desk.window.drain()
    assert desk.settled == list(range(200))
    for key in {row.ext_id for row in desk.sink.taken}:
        numbers = [row.update_id for row in desk.sink.taken if row.ext_id == key]
        assert numbers == sorted(numbers)
    assert 1 < desk.sink.most <= 8
    await desk.window.abort()


async def test_a_refused_row_is_told_and_does_not_stop_the_others() -> None:
    desk = Desk()
    desk.sink.refuse = {3, 4}
    await desk.put(20)
    await desk.window.drain()
    assert desk.refused in ([3, 4], [4, 3])
    assert desk.settled == list(range(20))
    await desk.window.abort()


async def test_a_failing_sink_settles_nothing_from_there_on_and_nothing_overtakes() -> None:
    desk = Desk()
    desk.sink.fail = {11}
    await desk.put(60)
    with pytest.raises(ConnectionError):
        await desk.window.drain()
    await desk.window.abort()
    assert desk.settled == list(range(len(desk.settled)))
    assert len(desk.settled) <= 11
    assert not [row for row in desk.sink.taken if row.ext_id == "c1" and row.update_id > 11]


async def test_abort_leaves_nothing_running() -> None:
    desk = Desk()
    await desk.put(5)
    await desk.window.abort()
    await asyncio.sleep(0.02)
    assert desk.settled == []
    assert len(asyncio.all_tasks()) == 1
