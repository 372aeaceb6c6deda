"""How a twin does not answer: late, never, or with half of an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.responses import Response, StreamingResponse


class Hanging:
    """Requests that wait, all let go when the twin ends."""

    def __init__(self) -> None:
        self._ended = asyncio.Event()

    def end(self) -> None:
        """Let go of every request that hangs."""
        self._ended.set()

    async def wait(self, seconds: float) -> None:
        """For that long, unless the twin ends."""
        try:
            await asyncio.wait_for(self._ended.wait(), seconds)
        except TimeoutError:
            return

    async def hang(self, seconds: float) -> Response:
        """No answer for that long; then the connection breaks off."""
        await self.wait(seconds)
        return cut(b"{}")


def cut(body: bytes) -> Response:
    """Promises one byte more than it sends: the server closes the connection for it."""

    async def half() -> AsyncIterator[bytes]:
        yield body

    headers = {"Content-Length": str(len(body) + 1), "Content-Type": "application/json"}
    return StreamingResponse(half(), headers=headers)
