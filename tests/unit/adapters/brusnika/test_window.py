"""The window: batches of rows in flight, settled in the order in which they came; refused frames kept before that."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from adapters.brusnika import window as module
from adapters.brusnika.frames import BadFrame
from adapters.brusnika.window import Item, Refused, Row, Window
from schemas.error_frame import Trouble
from schemas.errors import InvalidInput
from schemas.estate import City


def refused(number: int) -> Refused:
    bad = BadFrame(Trouble.WRONG_VALUE, InvalidInput("name", "less", "much"), number)
    return Refused(b"{}", bad, 2)


class Sink:
    """Takes batches; refuses and fails on request."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.kept: list[int] = []
        self.batches: list[int] = []
        self.fail: set[int] = set()
        self.refuse: set[int] = set()
        self.lost_letters = False
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, rows: Sequence[Any]) -> list[InvalidInput | None]:
        self.batches.append(len(rows))
        await self.open.wait()
        if any(row.update_id in self.fail for row in rows):
            raise ConnectionError("sink down")
        self.taken += [row for row in rows if row.update_id not in self.refuse]
        return [InvalidInput("name", "less", "much") if row.update_id in self.refuse else None for row in rows]

    async def keep(self, frames: Sequence[Refused]) -> None:
        if self.lost_letters:
            raise ConnectionError("no dead letters")
        self.kept += [frame.bad.update_id or 0 for frame in frames]


class Desk:
    """A window with a sink, and what it settled."""

    def __init__(self, size: int = 8) -> None:
        self.sink = Sink()
        self.settled: list[int] = []
        self.window = Window(self.sink, self.sink.keep, size, self._settle, self._refuse)

    def _settle(self, item: Item) -> None:
        number = item.bad.update_id if isinstance(item, Refused) else item[1]
        assert isinstance(number, int)
        self.settled.append(number)

    async def _refuse(self, row: Row, error: InvalidInput) -> Refused:
        return refused(row[1])

    async def put(self, n: int, keys: int = 5) -> None:
        for i in range(n):
            await self.window.put(City(f"c{i % keys}", i))


async def test_rows_are_taken_in_batches_and_settle_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 4)
    desk = Desk()
    await desk.put(200)
    await desk.window.drain()
    assert desk.settled == [row.update_id for row in desk.sink.taken] == list(range(200))
    assert max(desk.sink.batches) == 4
    await desk.window.abort()


async def test_refused_rows_and_frames_are_kept_before_they_settle() -> None:
    desk = Desk()
    desk.sink.refuse = {3, 4}
    await desk.put(10)
    await desk.window.put(refused(10))
    await desk.window.drain()
    assert desk.sink.kept == [3, 4, 10]
    assert desk.settled == list(range(11))
    await desk.window.abort()


async def test_a_failing_sink_settles_nothing_of_its_batch_and_nothing_overtakes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 4)
    desk = Desk()
    desk.sink.fail = {11}
    await desk.put(60)
    with pytest.raises(ConnectionError):
        await desk.window.drain()
    await desk.window.abort()
    assert desk.settled == list(range(len(desk.settled)))
    assert len(desk.settled) <= 11
    assert not [row for row in desk.sink.taken if row.update_id > 11]


async def test_a_frame_that_cannot_be_kept_ends_the_window() -> None:
    desk = Desk()
    desk.sink.lost_letters = True
    await desk.window.put(refused(1))
    with pytest.raises(ConnectionError):
        await desk.window.drain()
    assert desk.settled == []
    await desk.window.abort()


async def test_a_full_window_waits_for_rows_and_for_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    desk = Desk()
    desk.sink.open.clear()
    await desk.window.put(City("c", 0), 101)
    late = asyncio.create_task(desk.window.put(City("c", 1), 1))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not late.done()
    desk.sink.open.set()
    await late
    await desk.window.drain()
    assert desk.settled == [0, 1]
    await desk.window.abort()


async def test_abort_leaves_nothing_running() -> None:
    desk = Desk()
    desk.sink.open.clear()
    await desk.put(5)
    await desk.window.abort()
    assert desk.settled == []
    assert len(asyncio.all_tasks()) == 1
