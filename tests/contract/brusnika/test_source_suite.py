"""The feed in the suite of all sources."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from adapters.brusnika.twin.changes import Change
from adapters.brusnika.twin.server import BrusnikaTwin
from tests.contract.suites.source import Scene, SourceSuite
from tests.support.systems.brusnika import KEY, Shell, cities, running


class TestBrusnikaFeed(SourceSuite):
    """A change is a city."""

    @asynccontextmanager
    async def opened(self, folder: Path) -> AsyncIterator[Scene]:
        shell, stream = Shell(), list[Change]()
        shell.delay = 0.001
        async with BrusnikaTwin(header_value=KEY, stream=lambda: iter(list(stream))) as twin:

            async def say(changes: Collection[str]) -> None:
                stream.extend(cities(*map(int, changes)))

            yield Scene(
                say,
                lambda: running(shell.feed(twin.url)),
                lambda: [row.ext_id.removeprefix("city-") for row in shell.rows],
            )
