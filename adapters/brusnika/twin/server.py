"""The Brusnika twin: a WebSocket server that streams the changes of `company` as the real feed presumably does.

``GET /status`` answers what happened so far as JSON. Each connection gets the stream at its own pace: the company
stands still without a connection, so that a limited run always brings the same frames.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as serve_websocket
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response

from adapters.brusnika.twin.changes import Change, changes
from adapters.brusnika.twin.frames import denied_frame
from adapters.twin_kit.server import serve_until_signalled

YIELD_FRAMES: Final = 100
"""Frames after which other tasks get the event loop, when nothing else makes the stream wait."""


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


class BrusnikaTwin:
    """``async with BrusnikaTwin(seed=1, rate=200) as twin: twin.url``.

    ``rate``: frames a second and connection, 0 for as fast as they are taken. ``limit``: frames of the stream, after
    which the socket stays open and silent. ``drop_every``: cut each connection after that many frames, which should
    be well above `company.LATEST_FIRST`: what is later than a connection is long is lost to any reader. ``stream``:
    other changes than those of ``seed``.
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
    ) -> None:
        self._host, self._port, self._rate, self._drop_every = host, port, rate, drop_every
        self._header = header_name, header_value
        self._stream = stream or (lambda: changes(seed, limit))
        self._server: Server | None = None
        self.status = TwinStatus()
        self.answers: deque[dict[str, Any]] = deque(maxlen=10_000)
        """The latest ``error`` objects that came back."""

    @property
    def port(self) -> int:
        """Returns the port that the twin listens on."""
        assert self._server is not None, "the twin has not been started"
        return int(next(iter(self._server.sockets)).getsockname()[1])

    @property
    def url(self) -> str:
        """Returns the URL that a feed connects to."""
        return f"ws://{self._host}:{self.port}/"

    async def __aenter__(self) -> BrusnikaTwin:
        self._server = await serve_websocket(
            self._serve,
            self._host,
            self._port,
            process_request=self._answer_http,
            compression=None,
            max_size=1024 * 1024,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None, "the twin has not been started"
        self._server.close()
        await self._server.wait_closed()

    def _answer_http(self, socket: ServerConnection, request: Request) -> Response | None:
        path = urlsplit(request.path).path
        if path == "/":
            return None  # goes on as a WebSocket
        if path != "/status":
            return socket.respond(HTTPStatus.NOT_FOUND, "only / (WebSocket) and /status\n")
        body = json.dumps(asdict(self.status)).encode()
        headers = Headers({"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"})
        return Response(HTTPStatus.OK, "OK", headers, body)

    async def _serve(self, socket: ServerConnection) -> None:
        request = socket.request
        assert request is not None  # the handshake is done
        self.status.connections += 1
        name, value = self._header
        if not hmac.compare_digest(request.headers.get(name, "").encode(), value.encode()):
            await self._deny(socket)
            return
        after = parse_qs(urlsplit(request.path).query).get("after", [""])[-1]
        listener = asyncio.create_task(self._listen(socket))
        self.status.clients += 1
        try:
            await self._send_all(socket, int(after) if re.fullmatch(r"[0-9]{1,19}", after) else None)
            await socket.wait_closed()
        except ConnectionClosed:
            pass  # the client comes back when it likes
        finally:
            self.status.clients -= 1
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    async def _deny(self, socket: ServerConnection) -> None:
        """Send the error frame for a wrong header (docs/contracts/brusnika.md#errors), then close with 1008, policy
        violation [inferred]."""
        self.status.refused += 1
        with contextlib.suppress(ConnectionClosed):
            await socket.send(denied_frame("Invalid custom header"), text=True)
            await socket.close(CloseCode.POLICY_VIOLATION, "Invalid custom header")

    async def _listen(self, socket: ServerConnection) -> None:
        """Collect the client's error frames."""
        async for message in socket:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                error = json.loads(message)["error"]
                self.answers.append({"id": error["id"], **error})
                self.status.errors += 1

    async def _send_all(self, socket: ServerConnection, after: int | None) -> None:
        loop = asyncio.get_running_loop()
        begun, sent = loop.time(), 0
        for n, change in enumerate(self._stream()):
            if n % YIELD_FRAMES == 0:
                await asyncio.sleep(0)
            if after is not None and change.update_id <= after:
                continue
            if self._rate:
                await asyncio.sleep(max(0.0, begun + sent / self._rate - loop.time()))
            await socket.send(change.frame, text=True)
            sent += 1
            self.status.sent += 1
            self.status.last_update_id = max(self.status.last_update_id, change.update_id)
            if sent == self._drop_every:
                self.status.dropped += 1
                socket.transport.abort()
                return
        self.status.done = True


def serve(host: str, port: int, seed: int, rate: float, limit: int | None, header_value: str) -> None:
    """Run the twin until SIGINT or SIGTERM."""
    twin = BrusnikaTwin(host=host, port=port, seed=seed, rate=rate, limit=limit, header_value=header_value)
    serve_until_signalled("brusnika", twin, lambda running: f"company {seed} on {running.url}")
