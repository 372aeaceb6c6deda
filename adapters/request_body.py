"""The body of a request to one of Kounter's servers, read up to a limit."""

from __future__ import annotations

from starlette.requests import Request


class TooLarge(Exception):
    """The body is above the limit."""


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Return the whole body, whatever its Content-Length says.

    Raises TooLarge once the bytes read exceed the limit, and ClientDisconnect if the body ends too soon.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > max_bytes:
            raise TooLarge
    return bytes(body)
