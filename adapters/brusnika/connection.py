"""The socket of the feed: its address, its header, and the errors of opening it."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI

from schemas.errors import BrokenSetup, DeliveryDenied, host_of

QUEUED_FRAMES: Final = 4
"""Frames that the socket buffers while we are busy: few, as each may be of `HARD_LIMIT`."""
CLOSE_S: Final = 2.0
"""Seconds to wait for the server's close frame: a server that is still sending may not read ours."""
_URL_HINT: Final = "Set KOUNTER_BRUSNIKA__URL to ws://… or wss://…."
_DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}


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
        return super().process_redirect(exc) if _origin(there) == _origin(self.uri) else Redirected(there)


def open_socket(url: str, after: int | None, header: tuple[str, str], *, max_size: int) -> Connect:
    """Returns a connection to the feed, resumed after a number. Raises BrokenSetup."""
    try:
        return Connect(
            _resume_url(url, after),
            additional_headers=dict([header]),
            process_exception=lambda error: error,  # no retry inside: ours tells permanent errors from passing ones
            close_timeout=CLOSE_S,
            compression=None,
            max_size=max_size,
            max_queue=QUEUED_FRAMES,
        )
    except InvalidURI:
        raise BrokenSetup("the address of the Brusnika feed is not a WebSocket URL", hint=_URL_HINT) from None


def denied(why: str) -> DeliveryDenied:
    """Returns the error for a server that denies the connection."""
    return DeliveryDenied(
        f"brusnika denies the connection: {why}",
        hint="Check KOUNTER_BRUSNIKA__HEADER_NAME and KOUNTER_BRUSNIKA__HEADER_VALUE, then start again.",
    )


def problem_of(error: Exception) -> str:
    """Returns why the socket can't be opened, without the server's own text."""
    if isinstance(error, InvalidStatus):
        return f"HTTP {error.response.status_code}"
    return str(error) if isinstance(error, Redirected) else repr(error)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return url, None, None


def _resume_url(url: str, after: int | None) -> str:
    parts = urlsplit(url)
    query = "&".join(filter(None, [parts.query, "" if after is None else urlencode({"after": after})]))
    return urlunsplit(parts._replace(query=query))
