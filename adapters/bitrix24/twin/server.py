"""The Bitrix24 twin: a server that answers as a portal does, for the demo, the tests and a user's staging.

Beside the REST methods under ``/rest/<user>/<code>/`` it has a page at ``/`` and a control under ``/_twin/``.
Its state is one SQLite database.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Final

from loguru import logger

from adapters.bitrix24.twin.app import TwinApp
from adapters.bitrix24.twin.faults import Fault
from adapters.bitrix24.twin.limits import Limits
from adapters.bitrix24.twin.portal import Portal
from adapters.twin_kit.faults import Faults
from adapters.twin_kit.server import serving

USER: Final = 1
CODE: Final = "twin"
"""Of the twin's one incoming webhook; it opens nothing but the twin."""


class Bitrix24Twin:
    """``async with Bitrix24Twin(port=0) as twin: twin.webhook_url``.

    ``limits``: the portal's limits, off unless given. ``seed``: of the dice of faults that come at a rate.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        db_path: str | Path = ":memory:",
        limits: Limits | None = None,
        user: int = USER,
        code: str = CODE,
        seed: int = 1,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._host, self._port, self._db_path = host, port, db_path
        self._user, self._code, self._clock = user, code, clock
        self._limits = limits or Limits(enabled=False)
        self.faults = Faults[Fault](seed)
        self.portal: Portal
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str:
        """Of its page."""
        return f"http://{self._host}:{self._port}/"

    @property
    def webhook_url(self) -> str:
        """Where a client calls methods."""
        return webhook_url(self._host, self._port, self._user, self._code)

    async def __aenter__(self) -> Bitrix24Twin:
        self.portal = Portal(self._db_path, self._limits, self._clock)
        self._stack.callback(self.portal.store.close)
        self._app = TwinApp(self.portal, self.faults, self._user, self._code)
        try:
            self._port = await self._stack.enter_async_context(serving(self._app.asgi, self._host, self._port))
        except BaseException:
            await self._stack.aclose()
            raise
        self._stack.callback(self._app.end)
        hooks = asyncio.create_task(self.portal.hooks.run(f"{self._host}:{self._port}"))
        self._stack.push_async_callback(_cancelled, hooks)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def webhook_url(host: str, port: int, user: int = USER, code: str = CODE) -> str:
    """Where a client of a twin calls methods."""
    return f"http://{host}:{port}/rest/{user}/{code}/"


def serve(host: str, port: int, db_path: str | Path, limits: bool = True) -> None:
    """Run the twin until SIGINT or SIGTERM; ``limits``: those of an ordinary portal."""
    asyncio.run(_serve_until_told(host, port, db_path, limits))


async def _serve_until_told(host: str, port: int, db_path: str | Path, limits: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Bitrix24Twin(host=host, port=port, db_path=db_path, limits=Limits(enabled=limits)) as twin:
        logger.info("the bitrix24 twin shows its leads on {}", twin.url)
        await stop.wait()
    logger.info("the bitrix24 twin ends")
