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

from loguru import logger
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from adapters.backend.twin.store import BackendStore

AGAIN_S: Final = 0.05
MOST_AGAIN_S: Final = 2.0
IDS: Final = ("ext_id", "booking_ext_id", "visit_ext_id")


class LogReader:
    """A client of plain WebSocket that resumes behind the last number in its database."""

    def __init__(
        self, store: BackendStore, url: str, headers: Mapping[str, str], *, lives: int | None = 200, seed: int = 1
    ) -> None:
        """``lives`` is the mean number of events between two deaths; None: it never dies."""
        self._store, self._url, self._headers = store, url, dict(headers)
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
            with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                url = f"{self._url}/?after={before}"
                async with connect(url, additional_headers=self._headers, close_timeout=0.1) as socket:
                    await self._read(socket)
            wait = AGAIN_S if self._store.last > before else min(2 * wait, MOST_AGAIN_S)
            await asyncio.sleep(wait)

    async def _read(self, socket: ClientConnection) -> None:
        async for text in socket:
            frame = json.loads(text)
            if frame["error"] is not None:
                self.refused.append(frame["error"])
                logger.warning("the backend's twin is refused: {}", frame["error"])
                return
            dies = self._dice.random() < self._rate
            if not dies or self._dice.random() < 0.5:  # before the event is stored, or behind it
                self._take(frame["data"])
            if dies:
                self.deaths += 1
                socket.transport.abort()
                return

    def _take(self, event: dict[str, Any]) -> None:
        """Store an event and its number in one transaction."""
        thing = event["data"]
        number, last = thing["update_id"], self._store.last
        if number != last + 1:
            self.wrong.append(f"{number} after {last}")
        id = next((str(thing[name]) for name in IDS if thing.get(name) is not None), f"number {number}")
        with self._store.transaction():
            self._store.put(event["type"], id, thing, number)
