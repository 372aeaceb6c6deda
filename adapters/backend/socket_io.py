"""The log over Socket.IO, by WebSocket and by polling."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import parse_qs

import orjson
import socketio
from aiohttp import web

from adapters.backend import frames
from adapters.backend.access import is_allowed
from adapters.backend.readers import MOST_READERS, Readers, TooMany
from adapters.backend.settings import BackendSettings
from adapters.backend.web_socket import MOST_FRAME_BYTES, STALL_S
from schemas.errors import InvalidInput
from tables.event_log import Logged

PATH: Final = "/socket.io/"
POLLED: Final = 15
"""Packets of an answer to a poll: python-engineio's own client refuses more than 16, a ping among them."""


class LogNamespace:
    """The default namespace of a Socket.IO server that is mounted in an aiohttp application."""

    def __init__(self, settings: BackendSettings, readers: Readers, app: web.Application) -> None:
        self._settings, self._readers = settings, readers
        self._server = socketio.AsyncServer(
            async_mode="aiohttp", max_http_buffer_size=MOST_FRAME_BYTES, ping_interval=25, ping_timeout=20
        )
        self._server.attach(app)
        self._server.on("connect", self._connect)
        self._server.on("disconnect", self._disconnect)
        self._sending: dict[str, asyncio.Task[None]] = {}

    @web.middleware
    async def bound(self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
        """Refuse a new session when there are as many as readers may be: one need not connect to the namespace."""
        is_new = request.path.startswith(PATH) and "sid" not in request.query
        if is_new and len(self._server.eio.sockets) >= MOST_READERS:
            return web.Response(status=503, text=f"{MOST_READERS} readers are connected\n")
        return await handler(request)

    async def _connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        """Raises ConnectionRefusedError with an error frame, which a client gets with its ``connect_error``."""
        request: web.Request = environ["aiohttp.request"]
        if not is_allowed(self._settings, request.headers.getall(self._settings.header_name, [])):
            raise _refusal("Invalid custom header", frames.denied())
        query = parse_qs(environ.get("QUERY_STRING", "")).get("after", [None])[-1]
        try:
            after = await self._readers.start_of(auth["after"] if isinstance(auth, dict) and "after" in auth else query)
        except InvalidInput as error:
            raise _refusal(error.message, frames.refused(error)) from None
        # Last, and without an await behind it: the server then answers before the first page is sent.
        self._sending[sid] = asyncio.create_task(self._send_all(sid, request, after))

    async def _disconnect(self, sid: str, *reason: Any) -> None:
        if (sending := self._sending.pop(sid, None)) is not None:
            sending.cancel()

    async def _send_all(self, sid: str, request: web.Request, after: int) -> None:
        """Send pages until the client goes; cut one that does not read."""
        try:
            with self._readers.connected():
                async for page in self._readers.pages(after):
                    if not await self._send(sid, page):
                        return
        except (TimeoutError, TooMany):
            pass
        if request.transport is not None:
            request.transport.abort()
        if (socket := self._engine_socket(sid)) is not None:
            await socket.close(wait=False, abort=True)

    async def _send(self, sid: str, page: list[Logged]) -> bool:
        """Send a page, and wait until its session has taken it from its queue, which has no limit of its own. Returns
        whether the client is still there. Raises TimeoutError."""
        sent = 0
        while sent < len(page):
            socket = self._engine_socket(sid)
            if socket is None:
                return False
            part = page[sent:] if socket.upgraded else page[sent : sent + POLLED]
            for event in part:
                await self._server.eio.send(socket.sid, frames.socket_io(frames.data_frame(event)))
            sent += len(part)
            async with asyncio.timeout(STALL_S):
                await socket.queue.join()
        return True

    def _engine_socket(self, sid: str) -> Any:
        eio_sid = self._server.manager.eio_sid_from_sid(sid, "/")
        return self._server.eio.sockets.get(eio_sid)


def _refusal(message: str, frame: str) -> socketio.exceptions.ConnectionRefusedError:
    return socketio.exceptions.ConnectionRefusedError(message, orjson.loads(frame))
