"""The main backend's side of the log's socket: it reads events, stores each with its number, and dies now and then.

Source: docs/contracts/brusnika.md#frames.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Mapping
from typing import Any, Final

import socketio
from loguru import logger
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from adapters.backend.twin.store import BackendStore
from streams.resilience import end_if_cancelled

AGAIN_S: Final = 0.05
MOST_AGAIN_S: Final = 2.0
IDS: Final = ("ext_id", "booking_ext_id", "visit_ext_id")


class LogReader:
    """A client of plain WebSocket, or of Socket.IO, that resumes behind the last number in its database."""

    def __init__(
        self, store: BackendStore, address: str, headers: Mapping[str, str], *, by_socket_io: bool = False,
        lives: int | None = 200, seed: int = 1,
    ) -> None:  # fmt: skip
        """``address`` is ``host:port``. ``lives`` is the mean number of events between two deaths; None: it never
        dies.
        """
        self._store, self._address, self._headers = store, address, dict(headers)
        self._read = self._read_socket_io if by_socket_io else self._read_web_socket
        self._rate, self._dice = 1 / lives if lives else 0.0, random.Random(seed)
        self.wrong: list[str] = []
        """Numbers that did not follow the one before."""
        self.deaths = 0
        self.refused: list[dict[str, Any]] = []
        """Error objects of the server."""

    async def run(self) -> None:
        """Read until cancelled; connect again after each death and each outage."""
        wait = AGAIN_S
        while True:
            before = self._store.last
            with contextlib.suppress(OSError, WebSocketException, TimeoutError, socketio.exceptions.ConnectionError):
                await self._read(before)
            end_if_cancelled()
            wait = AGAIN_S if self._store.last > before else min(2 * wait, MOST_AGAIN_S)
            await asyncio.sleep(wait)

    async def _read_web_socket(self, after: int) -> None:
        url = f"ws://{self._address}/?after={after}"
        async with connect(url, additional_headers=self._headers, close_timeout=0.1) as socket:
            async for text in socket:
                frame = json.loads(text)
                if frame["error"] is not None:
                    self._note(frame["error"])
                    return
                if self._dies_at(frame["data"]):
                    socket.transport.abort()
                    return

    async def _read_socket_io(self, after: int) -> None:
        client = socketio.AsyncClient(reconnection=False)
        ended = asyncio.Event()

        def take(frame: dict[str, Any]) -> None:
            if not ended.is_set() and self._dies_at(frame["data"]):
                ended.set()

        def refuse(error: Any) -> None:
            if isinstance(error, dict) and "data" in error:
                self._note(error["data"]["error"])

        client.on("events", take)
        client.on("connect_error", refuse)
        client.on("disconnect", lambda *reason: ended.set())
        try:
            url, auth = f"http://{self._address}", {"after": after}
            await client.connect(url, headers=self._headers, auth=auth, transports=["websocket"])
            await ended.wait()
        finally:
            ended.set()
            await client.eio.disconnect(abort=True)

    def _note(self, error: dict[str, Any]) -> None:
        self.refused.append(error)
        logger.warning("the backend's twin is refused: {}", error)

    def _dies_at(self, event: dict[str, Any]) -> bool:
        """Store an event, unless the reader dies before it. Returns whether it dies, before or behind it."""
        dies = self._dice.random() < self._rate
        if not dies or self._dice.random() < 0.5:
            self._take(event)
        self.deaths += dies
        return dies

    def _take(self, event: dict[str, Any]) -> None:
        """Store an event and its number in one transaction."""
        thing = event["data"]
        number, last = thing["update_id"], self._store.last
        if number != last + 1:
            self.wrong.append(f"{number} after {last}")
        id = next((str(thing[name]) for name in IDS if thing.get(name) is not None), f"number {number}")
        with self._store.transaction():
            self._store.put(event["type"], id, thing, number)
