"""The Brusnika twin: a server that streams the changes of its company as the real feed presumably does: plain frames on
``/``, in Nest's envelope on ``/nest``, over Socket.IO on ``/socket.io/``.

``GET /status`` answers what happened so far as JSON; a POST to it changes faults. ``POST /crm/hs/ofo/FreeTime`` answers
free times. Each connection gets the stream at its own pace: the company stands still without a connection, so that a
limited run always brings the same frames.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hmac
import json
import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Final

from aiohttp import WSCloseCode, WSMsgType, web

from adapters.brusnika.twin.changes import Change, changes
from adapters.brusnika.twin.frames import denied_frame
from adapters.brusnika.twin.schedule import Schedule
from adapters.brusnika.twin.socket_io import SocketIODoor
from adapters.twin_kit.server import serve_until_signalled

YIELD_FRAMES: Final = 100
"""Frames after which other tasks get the event loop, when nothing else makes the stream wait."""
LEAVE_S: Final = 1.0
Send = Callable[[bytes], Awaitable[None]]


@dataclass
class TwinStatus:
    """Counters since the start."""

    sent: int = 0
    last_update_id: int = 0
    """The highest number that was sent."""
    clients: int = 0
    """Clients connected now."""
    connections: int = 0
    refused: int = 0
    """Connections with a wrong header."""
    errors: int = 0
    """Error frames that came back."""
    dropped: int = 0
    """Connections that the twin cut on purpose, as a fault."""
    done: bool = False
    """Whether the limit was reached on some connection."""


@dataclass
class TwinFaults:
    """Faults of the server, which may be changed while it runs."""

    ignores_after: bool = False
    """Each connection gets all there is, whatever number it resumes after."""
    unavailable: bool = False
    """503 instead of a connection."""
    rate: float = 0.0
    """Frames a second and connection, 0 for as fast as they are taken."""


class BrusnikaTwin:
    """``async with BrusnikaTwin(seed=1, rate=200) as twin: twin.url``.

    ``rate``: frames a second and connection, 0 for as fast as they are taken. ``limit``: frames of the stream, after
    which the socket stays open and silent. ``drop_every``: cut each connection after that many frames, which should
    be well above `company.LATEST_FIRST`: what is later than a connection is long is lost to any reader. ``stream``:
    other changes than those of ``seed``. ``people``: users, clients and their visits among the changes.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 1,
        rate: float = 0.0,
        limit: int | None = None,
        header_name: str = "X-Kounter-Key",
        header_value: str = "",
        drop_every: int | None = None,
        stream: Callable[[], Iterator[Change]] | None = None,
        people: bool = False,
        first_day: datetime.date | None = None,
    ) -> None:
        self._host, self._port, self._drop_every = host, port, drop_every
        self._header = header_name, header_value
        self._stream = stream or (lambda: changes(seed, limit, people=people))
        self._runner: web.AppRunner | None = None
        self._door = SocketIODoor(self._is_denied, self._send_all, self._hear, self._count)
        self.faults = TwinFaults(rate=rate)
        self.schedule = Schedule(seed, first_day or datetime.datetime.now(datetime.UTC).date())
        self.status = TwinStatus()
        self.answers: deque[dict[str, Any]] = deque(maxlen=10_000)
        """The latest ``error`` objects that came back; ``in_nest`` says whether in Nest's envelope."""

    @property
    def port(self) -> int:
        """Returns the port that the twin listens on."""
        assert self._runner is not None, "the twin has not been started"
        return int(self._runner.addresses[0][1])

    @property
    def url(self) -> str:
        """Returns the URL that a feed connects to, for plain frames."""
        return f"ws://{self._host}:{self.port}/"

    @property
    def door(self) -> SocketIODoor:
        """Returns the part that speaks Socket.IO."""
        return self._door

    async def __aenter__(self) -> BrusnikaTwin:
        app = web.Application(middlewares=[self._may_be_away])
        app.router.add_get("/", self._serve)
        app.router.add_get("/nest", self._serve)
        app.router.add_get("/status", self._answer_status)
        app.router.add_post("/status", self._change_faults)
        app.router.add_post("/crm/hs/ofo/FreeTime", self._answer_schedule)
        self._door.attach(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=LEAVE_S)
        await runner.setup()
        await web.TCPSite(runner, self._host, self._port).start()
        self._runner = runner
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None, "the twin has not been started"
        await self._door.close()
        await self._runner.cleanup()

    @web.middleware
    async def _may_be_away(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.faults.unavailable and request.path != "/status":
            return web.Response(status=503, text="Service Unavailable\n")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _answer_status(self, request: web.Request) -> web.Response:
        return web.json_response(asdict(self.status))

    async def _change_faults(self, request: web.Request) -> web.Response:
        """Set the named faults: ``{"ignores_after": true}``."""
        self.faults = TwinFaults(**{**asdict(self.faults), **await request.json()})
        return web.json_response(asdict(self.faults))

    async def _answer_schedule(self, request: web.Request) -> web.Response:
        if self._is_denied(request):
            return web.Response(status=401)
        found = self.schedule.answer(await request.json())
        return web.Response(status=400) if found is None else web.json_response(found)

    def _is_denied(self, request: web.Request) -> bool:
        self.status.connections += request.path != "/crm/hs/ofo/FreeTime"
        name, value = self._header
        came = request.headers.getall(name, [""])
        is_it = len(came) == 1 and hmac.compare_digest(came[0].encode("utf-8", "surrogateescape"), value.encode())
        self.status.refused += not is_it
        return not is_it

    def _count(self, change: int) -> None:
        self.status.clients += change

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False, max_msg_size=1024 * 1024, timeout=LEAVE_S)
        if not socket.can_prepare(request):
            return web.Response(status=426, text="a WebSocket\n")
        await socket.prepare(request)
        if self._is_denied(request):
            await self._deny(socket)
            return socket
        is_nest, after = request.path == "/nest", request.query.get("after", "")
        listener = asyncio.create_task(self._listen(socket))
        self._count(1)

        async def send(frame: bytes) -> None:
            said = b'{"event":"events","data":%b}' % frame if is_nest else frame
            await socket.send_frame(said, WSMsgType.TEXT)  # also one that is no UTF-8

        sender = asyncio.create_task(self._send_all(send, int(after) if re.fullmatch(r"[0-9]{1,19}", after) else None))
        try:
            await asyncio.wait({sender, listener}, return_when=asyncio.FIRST_COMPLETED)
            if sender.done() and self._is_cut(sender) and request.transport is not None:
                request.transport.abort()
            await listener
        finally:
            self._count(-1)
            for task in (sender, listener):
                task.cancel()
            await asyncio.gather(sender, listener, return_exceptions=True)
        return socket

    def _is_cut(self, sender: asyncio.Task[None]) -> bool:
        return not sender.cancelled() and isinstance(sender.exception(), Cut)

    async def _deny(self, socket: web.WebSocketResponse) -> None:
        """Send the error frame for a wrong header (docs/contracts/brusnika.md#errors), then close with 1008, policy
        violation [inferred]."""
        with contextlib.suppress(ConnectionError):
            await socket.send_frame(denied_frame("Invalid custom header"), WSMsgType.TEXT)
            await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"Invalid custom header")

    async def _listen(self, socket: web.WebSocketResponse) -> None:
        """Collect the client's error frames."""
        async for message in socket:
            with contextlib.suppress(ValueError):
                self._hear(json.loads(message.data))

    def _hear(self, frame: Any) -> None:
        in_nest = isinstance(frame, dict) and frame.get("event") == "events"
        with contextlib.suppress(KeyError, TypeError):
            error = (frame["data"] if in_nest else frame)["error"]
            self.answers.append({"id": error["id"], "in_nest": in_nest, **error})
            self.status.errors += 1

    async def _send_all(self, send: Send, after: int | None) -> None:
        loop = asyncio.get_running_loop()
        begun, sent = loop.time(), 0
        for n, change in enumerate(self._stream()):
            if n % YIELD_FRAMES == 0:
                await asyncio.sleep(0)
            if after is not None and change.update_id <= after and not self.faults.ignores_after:
                continue
            if self.faults.rate:
                await asyncio.sleep(max(0.0, begun + sent / self.faults.rate - loop.time()))
            await send(change.frame)
            sent += 1
            self.status.sent += 1
            self.status.last_update_id = max(self.status.last_update_id, change.update_id)
            if sent == self._drop_every:
                self.status.dropped += 1
                raise Cut
        self.status.done = True


class Cut(Exception):
    """Raised to cut a connection, as a fault."""


def serve(host: str, port: int, seed: int, rate: float, limit: int | None, header_value: str) -> None:
    """Run the twin until SIGINT or SIGTERM."""
    twin = BrusnikaTwin(host=host, port=port, seed=seed, rate=rate, limit=limit, header_value=header_value)
    serve_until_signalled("brusnika", twin, lambda running: f"company {seed} on {running.url}")
