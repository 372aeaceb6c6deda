"""Serves a twin over HTTP: inside a program that has other things to do, or as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

import uvicorn
from loguru import logger
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp

from adapters.loopback import LOOPBACK_NAMES
from adapters.own_pages import OwnPages

T = TypeVar("T")
START_S: Final = 10.0


class _Server(uvicorn.Server):
    """uvicorn that leaves the process's signals to its caller."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(app: Any, host: str, port: int) -> AsyncIterator[int]:
    """Serve ``app`` while the block runs; gives the port, which is a free one for 0.

    On loopback only names of this machine are answered, or any web page could read it through a name that it lets
    point here.
    """
    listening = _listen(host, port)
    guarded: Any = OwnPages(app)
    if host in LOOPBACK_NAMES:
        guarded = TrustedHostMiddleware(guarded, allowed_hosts=LOOPBACK_NAMES, www_redirect=False)
    config = uvicorn.Config(
        guarded,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",  # a connection that is cut on purpose is no error
        access_log=False,
        timeout_graceful_shutdown=3,
        server_header=False,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve([listening]))
    try:
        async with asyncio.timeout(START_S):
            while not server.started:
                if task.done():
                    await task
                    raise RuntimeError("the server ended at its start")
                await asyncio.sleep(0.005)
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)


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


class HttpTwinApp(Protocol):
    """The ASGI application of a twin; ``end`` lets its hanging requests go."""

    @property
    def asgi(self) -> ASGIApp: ...
    @property
    def end(self) -> Callable[[], None]: ...


class HttpTwin(ABC):
    """Base of a twin over HTTP: an asynchronous context manager that serves while the block runs.

    ``port`` 0 is a free one.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._stack = AsyncExitStack()

    @property
    def address(self) -> str:
        """The ``host:port`` on which the twin listens."""
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"

    @abstractmethod
    def begin(self, stack: AsyncExitStack) -> HttpTwinApp:
        """Open the state, closed by ``stack`` at the end, and return the application to serve."""

    async def __aenter__(self) -> Self:
        try:
            app = self.begin(self._stack)
            self._port = await self._stack.enter_async_context(serving(app.asgi, self._host, self._port))
        except BaseException:
            await self._stack.aclose()
            raise
        self._stack.callback(app.end)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()


def serve_until_signalled(name: str, twin: AbstractAsyncContextManager[T], shown: Callable[[T], str]) -> None:
    """Run a twin in a process of its own until SIGINT or SIGTERM. ``shown`` returns the twin's address for the log."""

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with twin as running:
            logger.info("the {} twin serves {}", name, shown(running))
            await stop.wait()
        logger.info("the {} twin ends", name)

    asyncio.run(run())
