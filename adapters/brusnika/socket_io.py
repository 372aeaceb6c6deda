"""The feed over Socket.IO: the same frames as the data of the event ``events`` (docs/contracts/brusnika.md#frames)."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import socketio
from engineio.async_client import AsyncClient as EngineClient
from socketio import packet
from socketio.exceptions import SocketIOError
from websockets.frames import CloseCode

from adapters.brusnika.connection import (
    CLOSE_S,
    Ended,
    NotOpened,
    Redirected,
    denied,
    no_socket_at,
    origin_of,
    resume_url,
)
from adapters.brusnika.frames import EVENT
from schemas.error_frame import Trouble
from schemas.errors import BrokenSetup, shorten

OPEN_S: Final = 10.0
QUEUED_FRAMES: Final = 64
"""Frames that wait for us before no more is read from the socket."""
_MALFORMED: Final = "\0malformed"
"""Stands for the event of a packet that can't be read: no server can send it, as JSON escapes it."""
_ARGUMENT: Final = re.compile(r'\s*\[\s*"((?:[^"\\]|\\.)*)"\s*(?:,(.*))?\]\s*', re.DOTALL)
_DEFAULT_PATH: Final = "socket.io"


class _LazyJson:
    """JSON of packets, in which an event's arguments stay text: `frames` reads them strictly, and answers bad ones."""

    @staticmethod
    def loads(text: str) -> Any:
        event = _ARGUMENT.fullmatch(text)
        return json.loads(text) if event is None else [event[1], event[2] or "null"]

    dumps = staticmethod(json.dumps)


class _Packet(packet.Packet):  # type: ignore[misc]
    """A packet that never raises: an error in the library's reading task would show nowhere."""

    json = _LazyJson

    def decode(self, encoded_packet: Any) -> int:
        """Read a packet. Returns the number of binary attachments that follow."""
        try:
            if not isinstance(encoded_packet, str):
                raise ValueError("binary data that no packet announced")
            return int(super().decode(encoded_packet) or 0)
        except (ValueError, RecursionError):
            self.packet_type, self.namespace, self.id = packet.EVENT, None, None
            self.data = [_MALFORMED, "null"]
            return 0


class _Engine(EngineClient):  # type: ignore[misc]
    """The transport, which reads on only while there is room: the library itself makes a task of each message, without
    a limit."""

    room: asyncio.Event

    async def _receive_packet(self, pkt: Any) -> None:
        await self.room.wait()
        await super()._receive_packet(pkt)


class _Client(socketio.AsyncClient):  # type: ignore[misc]
    def _engineio_client_class(self) -> type[_Engine]:
        return _Engine


class SocketIOConnection:
    """One connection by Socket.IO."""

    def __init__(self, session: aiohttp.ClientSession, max_size: int) -> None:
        self._client = _Client(
            reconnection=False,
            handle_sigint=False,
            serializer=_Packet,
            http_session=session,
            websocket_extra_options={"max_msg_size": max_size, "compress": 0},
        )
        self._engine: _Engine = self._client.eio
        self._engine.room = asyncio.Event()
        self._engine.room.set()
        self._frames: asyncio.Queue[bytes | Ended] = asyncio.Queue()
        self.refusal: Any = None
        """Data of the server's refusal to connect."""
        self._client.on("*", self._on_event)
        self._client.on("disconnect", self._on_disconnect)
        self._client.on("connect_error", self._on_refusal)

    async def open(self, url: str, after: int | None, header: tuple[str, str], path: str) -> None:
        """Connect. Raises SocketIOError, TimeoutError, or what the HTTP client raises."""
        async with asyncio.timeout(OPEN_S):
            await self._client.connect(
                resume_url(url, after),
                headers=dict([header]),
                auth=None if after is None else {"after": after},
                transports=["websocket"],
                namespaces=["/"],
                socketio_path=path,
                wait_timeout=OPEN_S,
            )

    async def close(self) -> None:
        """Disconnect, and wait a little for the server."""
        self._engine.room.set()
        with suppress(TimeoutError):  # the session is closed next
            async with asyncio.timeout(CLOSE_S):
                await self._client.shutdown()

    async def recv(self) -> bytes:
        """Returns the next frame. Raises Ended."""
        frame = await self._frames.get()
        if self._frames.qsize() < QUEUED_FRAMES:
            self._engine.room.set()
        if isinstance(frame, Ended):
            self._frames.put_nowait(frame)  # for who asks again
            raise frame
        return frame

    async def send(self, frame: bytes) -> None:
        """Send an error frame as the same event."""
        with suppress(SocketIOError):  # `recv` raises its own error
            await self._client.emit(EVENT, json.loads(frame))

    async def _on_event(self, event: str, argument: str = "null", *more: Any) -> None:
        # No await before the frame is queued: the library runs this once per message, in order.
        if event == EVENT:
            raw = argument.encode("utf-8", "surrogatepass")
        else:
            raw = json.dumps({"event": "a malformed packet" if event == _MALFORMED else event}).encode()
        self._frames.put_nowait(raw)
        if self._frames.qsize() >= QUEUED_FRAMES:
            self._engine.room.clear()

    async def _on_disconnect(self, reason: str = "") -> None:
        socket = self._engine.ws
        error = None if socket is None else socket.exception()
        code = getattr(error, "code", None)
        self._frames.put_nowait(
            Ended(
                f"socket.io: {reason}",
                is_cut=reason != self._client.reason.SERVER_DISCONNECT,
                is_denial=socket is not None and socket.close_code == CloseCode.POLICY_VIOLATION,
                is_too_big=code == CloseCode.MESSAGE_TOO_BIG,
            )
        )

    async def _on_refusal(self, data: Any = None) -> None:
        self.refusal = data


@asynccontextmanager
async def open_socket_io(
    url: str, after: int | None, header: tuple[str, str], *, max_size: int
) -> AsyncIterator[SocketIOConnection]:
    """Yields a connection to the feed, resumed after a number (query and ``auth.after``). Raises NotOpened,
    DeliveryDenied, BrokenSetup.

    A path in the URL is Engine.IO's own; without one it is ``/socket.io/``.
    """
    if urlsplit(url).scheme not in ("ws", "wss"):
        raise BrokenSetup("the address of the Brusnika feed is not a WebSocket URL")
    path = urlsplit(url).path.strip("/") or _DEFAULT_PATH
    statuses: list[int] = []
    async with aiohttp.ClientSession(trust_env=True, trace_configs=[_guard(url, statuses)]) as session:
        connection = SocketIOConnection(session, max_size)
        try:
            try:
                await connection.open(url, after, header, path)
            except (SocketIOError, aiohttp.ClientError, OSError, Redirected) as error:
                raise _not_opened(f"/{path}/", error, connection.refusal, statuses) from None
            yield connection
        finally:
            await connection.close()


def _guard(url: str, statuses: list[int]) -> aiohttp.TraceConfig:
    """Returns the check of redirects: our header goes to no other host. ``statuses`` gets those of the answers."""
    origin, trace = origin_of(url), aiohttp.TraceConfig()

    async def check(session: Any, context: Any, params: aiohttp.TraceRequestRedirectParams) -> None:
        location = params.response.headers.get("Location", "")
        there = str(params.response.url.join(type(params.response.url)(location)))
        if origin_of(there.replace("http", "ws", 1)) != origin:
            raise Redirected(there)

    async def note(session: Any, context: Any, params: aiohttp.TraceRequestEndParams) -> None:
        statuses.append(params.response.status)

    trace.on_request_redirect.append(check)
    trace.on_request_end.append(note)
    return trace


def _not_opened(path: str, error: Exception, refusal: Any, statuses: list[int]) -> Exception:
    """Returns the error to raise, without the server's own text but the label of its error frame."""
    if isinstance(error, Redirected):
        return NotOpened(str(error), is_error=True)
    if statuses and statuses[-1] in (401, 403):
        return denied(f"HTTP {statuses[-1]}")
    if (said := _error_in(refusal)) is not None:
        why = shorten(said.get("meta", {}).get("message", "") if isinstance(said.get("meta"), dict) else "")
        return denied(why) if said.get("id") == Trouble.DENIED.id else NotOpened(f"socket.io refuses: {why}")
    if statuses and statuses[-1] != 101:
        return no_socket_at(path, statuses[-1])
    return NotOpened(f"no Socket.IO at {path}: {error!r}")


def _error_in(refusal: Any) -> dict[str, Any] | None:
    """Returns the error object of an error frame, which servers send as the refusal itself, its ``data`` or its
    ``message``."""
    places = [refusal, *(refusal.get(n) for n in ("data", "message"))] if isinstance(refusal, dict) else []
    return next((p["error"] for p in places if isinstance(p, dict) and isinstance(p.get("error"), dict)), None)
