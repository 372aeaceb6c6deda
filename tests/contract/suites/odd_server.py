"""A server over HTTP that answers as no service should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

Before = Callable[[str], bytes | None]


class OddServer:
    """Answers each request with ``answer``, raw bytes; None: it never answers. ``heads``: what it was asked, whole.

    ``before``: bodies for what a client asks first, as a token, by the request's path; None for all else.
    """

    def __init__(self, answer: bytes | None, before: Before = lambda path: None) -> None:
        self.answer, self._before = answer, before
        self.heads: list[str] = []
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[OddServer]:
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ended = asyncio.Event()
        try:
            yield self
        finally:
            self._ended.set()
            server.close()
            await server.wait_closed()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            body = self._before(head.split()[1])
            if body is not None:
                writer.write(http("200 OK", body))
            elif self.answer is None:
                await self._ended.wait()
            else:
                writer.write(self.answer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has heard enough
        finally:
            writer.close()


def http(status: str, body: bytes = b"", *headers: str) -> bytes:
    """Returns an answer; ``status`` as ``200 OK``."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", "content-type: application/json", *headers]
    return "\r\n".join([*lines, "connection: close", "", ""]).encode() + body
