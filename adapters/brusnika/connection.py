"""The WebSocket of the feed: its address, its header, and the errors of opening and reading it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, Protocol
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    ConnectionClosedOK,
    InvalidHandshake,
    InvalidMessage,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)
from websockets.frames import CloseCode

from schemas.errors import BrokenSetup, DeliveryDenied, host_of

QUEUED_FRAMES: Final = 4
"""Frames that the socket buffers while we are busy: few, as each may be of `HARD_LIMIT`."""
CLOSE_S: Final = 2.0
"""Seconds to wait for the server's close frame: a server that is still sending may not read ours."""
_URL_HINT: Final = "Set KOUNTER_BRUSNIKA__URL to ws://… or wss://…."
_DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}


class Ended(Exception):
    """Raised for the end of a connection: by the server, the network or ourselves."""

    def __init__(self, why: str, *, is_cut: bool, is_denial: bool = False, is_too_big: bool = False) -> None:
        super().__init__(why)
        self.is_cut = is_cut
        """Whether it ended without a close frame."""
        self.is_denial = is_denial
        """Whether the server closed for a violation of its policy."""
        self.is_too_big = is_too_big
        """Whether we closed because of a frame above the limit of the socket."""


class NotOpened(Exception):
    """Raised for a connection that can't be opened now."""

    def __init__(
        self, why: str, *, is_wrong_path: bool = False, is_other: bool = False, is_error: bool = False
    ) -> None:
        super().__init__(why)
        self.is_wrong_path = is_wrong_path
        """Whether something answers there, but no WebSocket."""
        self.is_other = is_other
        """Whether the server may still have a socket of another kind."""
        self.is_error = is_error
        """Whether it needs a person."""


class Connection(Protocol):
    """An open connection to the feed."""

    async def recv(self) -> bytes:
        """Returns the next frame. Raises Ended."""

    async def send(self, frame: bytes) -> None:
        """Send an error frame; without effect on a connection that has ended."""


class PlainConnection:
    """A WebSocket with one frame in each message."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def recv(self) -> bytes:
        """Returns the next frame. Raises Ended."""
        try:
            # Bytes: a text that is not UTF-8 is one bad frame, not the end of the connection.
            return await self._socket.recv(decode=False)
        except ConnectionClosed as error:
            raise Ended(
                repr(error),
                is_cut=not isinstance(error, ConnectionClosedOK),
                is_denial=error.rcvd is not None and error.rcvd.code == CloseCode.POLICY_VIOLATION,
                is_too_big=error.sent is not None and error.sent.code == CloseCode.MESSAGE_TOO_BIG,
            ) from None

    async def send(self, frame: bytes) -> None:
        """Send an error frame."""
        with suppress(ConnectionClosed):  # `recv` raises it too
            await self._socket.send(frame, text=True)


class Redirected(InvalidHandshake):
    """Raised for a redirect to another host, port or scheme, which must not get our header."""

    def __init__(self, location: str) -> None:
        super().__init__(
            f"the server redirects to {host_of(location)}: our header goes to no other host, port or scheme. If the "
            "feed has moved there, name it in KOUNTER_BRUSNIKA__URL"
        )


class Connect(connect):
    """Follows a redirect only where the header may go: to the same scheme, host and port."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Returns the URL to connect to instead, or the error to raise."""
        location = exc.response.headers.get("Location") if isinstance(exc, InvalidStatus) else None
        if location is None or not 300 <= exc.response.status_code < 400:  # type: ignore[attr-defined]
            return exc
        try:
            there = urljoin(self.uri, location)
        except ValueError:
            return Redirected(location)
        # `connect` itself would take all headers along but Authorization and cookies.
        return super().process_redirect(exc) if origin_of(there) == origin_of(self.uri) else Redirected(there)


@asynccontextmanager
async def open_plain(
    url: str, after: int | None, header: tuple[str, str], *, max_size: int
) -> AsyncIterator[PlainConnection]:
    """Yields a connection to the feed, resumed after a number. Raises NotOpened, DeliveryDenied, BrokenSetup."""
    try:
        socket = await Connect(
            resume_url(url, after),
            additional_headers=dict([header]),
            process_exception=lambda error: error,  # no retry inside: ours tells permanent errors from passing ones
            close_timeout=CLOSE_S,
            compression=None,
            max_size=max_size,
            max_queue=QUEUED_FRAMES,
        )
    except InvalidURI:
        raise BrokenSetup("the address of the Brusnika feed is not a WebSocket URL", hint=_URL_HINT) from None
    except InvalidProxy:  # its text may hold the proxy's password
        raise BrokenSetup("the proxy named in the environment can't be used for the Brusnika feed") from None
    except (OSError, EOFError, WebSocketException) as error:
        raise _not_opened(url, error) from None
    try:
        yield PlainConnection(socket)
    finally:
        await socket.close()


def _not_opened(url: str, error: Exception) -> Exception:
    """Returns the error to raise, without the server's own text."""
    if isinstance(error, Redirected):
        return NotOpened(str(error), is_error=True)
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        return denied(f"HTTP {status}") if status in (401, 403) else no_socket_at(url, status)
    if isinstance(error, InvalidMessage):  # as a Socket.IO server behaves at another path than its own
        return NotOpened(f"no WebSocket answers at {path_of(url)}: {error!r}", is_other=True)
    return NotOpened(repr(error))


def no_socket_at(url: str, status: int) -> NotOpened:
    """Returns the error for a server that answers a handshake with an HTTP status."""
    if status < 400 or status >= 500 or status in (408, 425, 429):
        return NotOpened(f"HTTP {status}", is_other=status in (200, 426, 501))
    return NotOpened(
        f"the server has no feed at {path_of(url)}: HTTP {status}. Check the path in KOUNTER_BRUSNIKA__URL",
        is_other=True,
        is_error=True,
    )


def denied(why: str) -> DeliveryDenied:
    """Returns the error for a server that denies the connection."""
    return DeliveryDenied(
        f"brusnika denies the connection: {why}",
        hint="Check KOUNTER_BRUSNIKA__HEADER_NAME and KOUNTER_BRUSNIKA__HEADER_VALUE, then start again.",
    )


def path_of(url: str) -> str:
    """Returns the path of a URL; its query may hold a secret."""
    return urlsplit(url).path or "/"


def origin_of(url: str) -> tuple[str, str | None, int | None]:
    """Returns scheme, host and port of a URL."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return url, None, None


def resume_url(url: str, after: int | None) -> str:
    """Returns the feed's URL with the number to resume after."""
    parts = urlsplit(url)
    query = "&".join(filter(None, [parts.query, "" if after is None else urlencode({"after": after})]))
    return urlunsplit(parts._replace(query=query))
