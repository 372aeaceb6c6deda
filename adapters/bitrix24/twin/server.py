"""The Bitrix24 twin: a server that answers as a portal does, for the demo, the tests and a user's staging.

Beside the REST methods under ``/rest/<user>/<code>/`` it has a page at ``/`` and a control under ``/_twin/``.
Its state is one SQLite database.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, Self

from adapters.bitrix24.twin.app import TwinApp
from adapters.bitrix24.twin.faults import Fault
from adapters.bitrix24.twin.limits import Limits
from adapters.bitrix24.twin.portal import Portal
from adapters.twin_kit.faults import Faults
from adapters.twin_kit.server import HttpTwin, serve_until_signalled

USER: Final = 1
CODE: Final = "twin"
"""Code of the twin's one incoming webhook; it gives access to the twin only."""


class Bitrix24Twin(HttpTwin):
    """``async with Bitrix24Twin(port=0) as twin: twin.webhook_url``.

    ``limits``: the portal's limits, off unless given. ``seed``: the random seed of faults that come at a rate.
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
        super().__init__(host, port)
        self._db_path, self._user, self._code, self._clock = db_path, user, code, clock
        self._limits = limits or Limits(enabled=False)
        self.faults = Faults[Fault](seed)
        self.portal: Portal

    @property
    def url(self) -> str:
        """Address of the twin's page."""
        return f"http://{self.address}/"

    @property
    def webhook_url(self) -> str:
        """Address at which a client calls methods."""
        return webhook_url(self._host, self._port, self._user, self._code)

    def begin(self, stack: AsyncExitStack) -> TwinApp:
        """Open the portal."""
        self.portal = Portal(self._db_path, self._limits, self._clock)
        stack.callback(self.portal.store.close)
        self._app = TwinApp(self.portal, self.faults, self._user, self._code)
        return self._app

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        hooks = asyncio.create_task(self.portal.hooks.run(self.address))
        self._stack.push_async_callback(_cancelled, hooks)
        return self


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def webhook_url(host: str, port: int, user: int = USER, code: str = CODE) -> str:
    """Return the address at which a client of a twin calls methods."""
    return f"http://{host}:{port}/rest/{user}/{code}/"


def serve(host: str, port: int, db_path: str | Path, limits: bool = True) -> None:
    """Run the twin until SIGINT or SIGTERM; ``limits``: with the limits of an ordinary portal."""
    twin = Bitrix24Twin(host=host, port=port, db_path=db_path, limits=Limits(enabled=limits))
    serve_until_signalled("bitrix24", twin, lambda running: running.url)
