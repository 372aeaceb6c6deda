"""The twin's stream over Socket.IO, on ``/socket.io/``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import parse_qs

import socketio
from aiohttp import web
from socketio import packet
from socketio.exceptions import ConnectionRefusedError as Refusal

from adapters.brusnika.twin.frames import DENIED, denied_frame

EVENT: Final = "events"
MOST_QUEUED: Final = 100
"""Packets that wait for a slow client: the library's own queue has no limit."""
ROOM_S: Final = 0.005
Stream = Callable[[Callable[[bytes], Awaitable[None]], int | None], Awaitable[None]]
"""Function that sends all changes above a number by a function that sends one frame."""


class _Raw(str):
    """The text of a frame, which may be no JSON on purpose."""


class _Json:
    loads = staticmethod(json.loads)

    @staticmethod
    def dumps(data: Any, **options: Any) -> str:
        if isinstance(data, list) and len(data) == 2 and isinstance(data[1], _Raw):
            return f'["{data[0]}",{data[1]!s}]'
        return json.dumps(data, **options)


class _Packet(packet.Packet):  # type: ignore[misc]
    json = _Json


class SocketIODoor:
    """``is_denied(headers)``: whether a client has a wrong header. ``stream``: sends the changes to one client."""

    def __init__(
        self,
        is_denied: Callable[[Any], bool],
        stream: Stream,
        hear: Callable[[Any], None],
        counts: Callable[[int], None],
    ) -> None:
        self._is_denied, self._stream, self._hear, self._counts = is_denied, stream, hear, counts
        self._server = socketio.AsyncServer(async_mode="aiohttp", serializer=_Packet, cors_allowed_origins=[])
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._server.on("connect", self._connect)
        self._server.on("disconnect", self._disconnect)
        self._server.on(EVENT, self._answer)

    def attach(self, app: web.Application) -> None:
        """Serve on an application."""
        self._server.attach(app)

    async def close(self) -> None:
        """Cut all clients."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._server.shutdown()

    async def _connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        request = environ["aiohttp.request"]
        if self._is_denied(request):
            raise Refusal(DENIED, json.loads(denied_frame("Invalid custom header")))
        said = auth.get("after") if isinstance(auth, dict) else None
        after = said if isinstance(said, int) else parse_qs(environ.get("QUERY_STRING", "")).get("after", [None])[-1]
        number = int(after) if after is not None and str(after).isdigit() else None
        self._counts(1)
        self._tasks[sid] = asyncio.create_task(self._send_all(sid, number))

    async def _send_all(self, sid: str, after: int | None) -> None:
        engine_sid = self._server.manager.eio_sid_from_sid(sid, "/")

        async def send(frame: bytes) -> None:
            await self._server.emit(EVENT, _Raw(frame.decode("utf-8", "replace")), to=sid)
            while self._queued(engine_sid) > MOST_QUEUED:  # noqa: ASYNC110  # the library has no event for it
                await asyncio.sleep(ROOM_S)

        await self._stream(send, after)

    def _queued(self, engine_sid: str) -> int:
        socket = self._server.eio.sockets.get(engine_sid)
        return 0 if socket is None else int(socket.queue.qsize())

    async def send_binary(self, data: bytes) -> None:
        """Send bytes as the event's data to all clients."""
        await self._server.emit(EVENT, data)

    async def _disconnect(self, sid: str, reason: str = "") -> None:
        if (task := self._tasks.pop(sid, None)) is not None:
            task.cancel()
            self._counts(-1)

    async def _answer(self, sid: str, frame: Any) -> None:
        self._hear(frame)
