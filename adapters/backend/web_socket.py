"""The log over a plain WebSocket, and in NestJS's framing."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import WSCloseCode, web

from adapters.backend import frames
from adapters.backend.access import is_allowed, is_own_page
from adapters.backend.readers import Readers, TooMany
from adapters.backend.settings import BackendSettings
from schemas.errors import InvalidInput

STALL_S: Final = 30.0
"""Seconds without any progress after which a client that does not read is cut."""
PING_S: Final = 40.0
"""Seconds of silence before a ping; a client that does not answer within half of it is gone."""
MOST_FRAME_BYTES: Final = 1 << 20
RENEW_S: Final = 1.0


class LogSocket:
    """Handler of one path."""

    def __init__(self, settings: BackendSettings, readers: Readers, framing: frames.Framing) -> None:
        self._settings, self._readers, self._framing = settings, readers, framing

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one client until it goes."""
        socket = web.WebSocketResponse(heartbeat=PING_S, max_msg_size=MOST_FRAME_BYTES, compress=False, timeout=1.0)
        if not socket.can_prepare(request):
            return web.Response(status=426, text="this is a WebSocket\n", headers={"Upgrade": "websocket"})
        if not is_own_page(request.headers.get("Origin"), request.headers.get("Host")):
            return web.Response(status=403, text="not for pages of other sites\n")
        await socket.prepare(request)
        if not is_allowed(self._settings, request.headers.getall(self._settings.header_name, [])):
            return await self._refuse(socket, frames.denied(), "Invalid custom header")
        try:
            with self._readers.connected():
                after = await self._readers.start_of(request.query.get("after"))
                await self._serve(request, socket, after)
        except InvalidInput as error:
            return await self._refuse(socket, frames.refused(error), "Invalid after")
        except TooMany as error:
            await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=error.message.encode())
        return socket

    async def _refuse(self, socket: web.WebSocketResponse, frame: str, reason: str) -> web.StreamResponse:
        try:
            async with asyncio.timeout(STALL_S):
                await socket.send_str(self._framing(frame))
        except (ConnectionError, TimeoutError):
            return socket
        await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=reason.encode())
        return socket

    async def _serve(self, request: web.Request, socket: web.WebSocketResponse, after: int) -> None:
        sender = asyncio.create_task(self._send(socket, after))
        sender.add_done_callback(lambda _: _abort(request))
        try:
            async for _ in socket:  # a client has nothing to say; its pongs and its close are read here
                pass
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    async def _send(self, socket: web.WebSocketResponse, after: int) -> None:
        loop, framing = asyncio.get_running_loop(), self._framing
        async for page in self._readers.pages(after):
            async with asyncio.timeout(STALL_S) as patience:
                renewed = loop.time()
                for event in page:
                    if loop.time() - renewed > RENEW_S:
                        renewed = loop.time()
                        patience.reschedule(renewed + STALL_S)
                    await socket.send_str(framing(frames.data_frame(event)))


def _abort(request: web.Request) -> None:
    """End the connection under a client that does not read: a close frame would wait behind all the others."""
    if request.transport is not None:
        request.transport.abort()
