"""Answers of a twin that come late, never, or by half."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.responses import Response, StreamingResponse


class Hanging:
    """Requests that wait; all are released when the twin ends."""

    def __init__(self) -> None:
        self._ended = asyncio.Event()

    def end(self) -> None:
        """Release every request that hangs."""
        self._ended.set()

    async def wait(self, seconds: float) -> None:
        """Wait for so many seconds, or until the twin ends."""
        try:
            await asyncio.wait_for(self._ended.wait(), seconds)
        except TimeoutError:
            return

    async def hang(self, seconds: float) -> Response:
        """Send no answer for so many seconds; then the connection breaks off."""
        await self.wait(seconds)
        return cut(b"{}")


def cut(body: bytes) -> Response:
    """Return an answer that promises one byte more than it sends, so the server closes the connection."""

    async def half() -> AsyncIterator[bytes]:
        yield body

    headers = {"Content-Length": str(len(body) + 1), "Content-Type": "application/json"}
    return StreamingResponse(half(), headers=headers)
