"""The Bitrix24 twin: a server that answers as a portal does, for the demo, the tests and a user's staging.

Beside the REST methods under ``/rest/<user>/<code>/`` it has a page at ``/`` and a control under ``/_twin/``.
Its state is one SQLite database.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

import uvicorn
from loguru import logger

from adapters.bitrix24.twin_app import TwinApp
from adapters.bitrix24.twin_faults import Faults
from adapters.bitrix24.twin_limits import Limits
from adapters.bitrix24.twin_portal import Portal

USER: Final = 1
CODE: Final = "twin"
"""Of the twin's one incoming webhook; it opens nothing but the twin."""
START_S: Final = 10.0


class _Server(uvicorn.Server):
    """uvicorn that leaves the process's signals to whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


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
        self.faults = Faults(seed)
        self.portal: Portal
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        """Of its page."""
        return f"http://{self._host}:{self._port}/"

    @property
    def webhook_url(self) -> str:
        """Where a client calls methods."""
        return webhook_url(self._host, self._port, self._user, self._code)

    async def __aenter__(self) -> Bitrix24Twin:
        listening = _listen(self._host, self._port)
        self._port = listening.getsockname()[1]
        self.portal = Portal(self._db_path, self._limits, self._clock)
        self._app = TwinApp(self.portal, self.faults, self._user, self._code)
        config = uvicorn.Config(
            self._app.asgi,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",  # a connection that is cut on purpose is no error
            access_log=False,
            timeout_graceful_shutdown=3,
            server_header=False,
        )
        self._server = _Server(config)
        serving = asyncio.create_task(self._server.serve([listening]))
        self._tasks = [serving, asyncio.create_task(self.portal.hooks.run(f"{self._host}:{self._port}"))]
        async with asyncio.timeout(START_S):
            while not self._server.started:
                if serving.done():
                    await serving
                    raise RuntimeError("the twin's server ended at its start")
                await asyncio.sleep(0.005)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._app.end()
        self._server.should_exit = True
        serving, hooks = self._tasks
        hooks.cancel()
        await asyncio.gather(serving, hooks, return_exceptions=True)
        self.portal.store.close()


def webhook_url(host: str, port: int, user: int = USER, code: str = CODE) -> str:
    """Where a client of a twin calls methods."""
    return f"http://{host}:{port}/rest/{user}/{code}/"


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named asyncio sets TCP_NODELAY; without it each answer waits 40 ms for an acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    return listening


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
