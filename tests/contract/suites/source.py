"""What a source does, see `streams.ports`: it ends when it is told to, and a restart loses nothing."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.waiting import until


class Scene(NamedTuple):
    """A twin that reports changes, and our side, which keeps them through restarts of the source."""

    say: Callable[[Collection[str]], Awaitable[None]]
    """Makes the twin report these changes to whoever connects from now on."""
    running: Callable[[], AbstractAsyncContextManager[object]]
    """Runs the source; the end of the block stops it as its process does, and returns when it has ended."""
    taken: Callable[[], Collection[str]]
    """Returns what our side has got so far, from all runs."""


class SourceSuite(ABC):
    """Subclasses give a source beside its twin."""

    many: int = 60
    """Changes that are still under way when the source is stopped in the midst of them."""

    @abstractmethod
    def opened(self, folder: Path) -> AbstractAsyncContextManager[Scene]:
        """Starts the twin; the source keeps its position in ``folder`` or on our side."""

    @pytest.fixture
    async def scene(self, tmp_path: Path) -> AsyncIterator[Scene]:
        async with self.opened(tmp_path) as scene:
            yield scene

    async def test_a_stop_ends_it_at_once(self, scene: Scene) -> None:
        """Whether it waits for changes or has only begun."""
        async with asyncio.timeout(60):
            async with scene.running():
                pass
            await scene.say(["1"])
            async with scene.running():
                await until(lambda: scene.taken())
        assert set(scene.taken()) == {"1"}

    async def test_a_restart_goes_on_with_what_came_meanwhile(self, scene: Scene) -> None:
        first, second = {"1", "2", "3"}, {"4", "5"}
        await scene.say(sorted(first))
        async with scene.running():
            await until(lambda: first <= set(scene.taken()))
        await scene.say(sorted(second))
        async with scene.running():
            await until(lambda: second <= set(scene.taken()))
        assert set(scene.taken()) == first | second

    async def test_a_stop_in_the_midst_loses_nothing(self, scene: Scene) -> None:
        every = {str(n) for n in range(1, self.many + 1)}
        await scene.say(sorted(every, key=int))
        async with scene.running():
            await until(lambda: scene.taken())
        async with scene.running():
            await until(lambda: every <= set(scene.taken()))
        assert set(scene.taken()) == every
