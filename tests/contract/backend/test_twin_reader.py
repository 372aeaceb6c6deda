"""The twin's reader of the log's socket, over the real server: it dies at random and misses nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from adapters.backend.twin.reader import LogReader
from adapters.backend.twin.store import BackendStore
from tests.support.backend import KEY, Served, served
from tests.support.waiting import until

HEADERS = {"X-Kounter-Key": KEY}


@pytest.mark.parametrize("by_socket_io", [False, True])
async def test_it_resumes_behind_what_it_has_stored(tmp_path: Path, by_socket_io: bool) -> None:
    store = BackendStore(tmp_path / "twin.sqlite")
    async with served(tmp_path, count=400) as server:
        reader = LogReader(store, _address(server), HEADERS, by_socket_io=by_socket_io, lives=80, seed=3)
        task = asyncio.create_task(reader.run())
        await until(lambda: store.last == 400)
        server.append(100)
        await until(lambda: store.last == 500)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert reader.deaths >= 2
    assert reader.wrong == []
    assert len(store.taken()) == 500
    store.close()


@pytest.mark.parametrize("by_socket_io", [False, True])
async def test_a_refusal_is_kept(tmp_path: Path, by_socket_io: bool) -> None:
    store = BackendStore()
    async with served(tmp_path, count=1) as server:
        reader = LogReader(store, _address(server), {}, by_socket_io=by_socket_io, lives=None)
        task = asyncio.create_task(reader.run())
        await until(lambda: reader.refused)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert reader.refused[0]["id"] == 400
    assert store.last == 0
    store.close()


def _address(server: Served) -> str:
    return server.url.removeprefix("ws://")
