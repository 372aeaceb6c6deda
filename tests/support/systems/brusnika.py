"""A feed of the Brusnika twin with a sink and a position of the test, and servers that the twin is not."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websocket

from adapters.brusnika.feed import BrusnikaFeed
from adapters.brusnika.settings import BrusnikaSettings
from adapters.brusnika.twin.changes import Change
from adapters.brusnika.twin.frames import data_frame
from adapters.brusnika.window import Refused
from schemas.errors import InvalidInput
from schemas.estate import City

KEY = "of-the-test"


class Shell:
    """What the shell gives to the feed: a sink and a place for the position."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.kept: list[Refused] = []
        self.position: int | None = None
        self.saves: list[int] = []
        self.delay = 0.0
        self.check: Callable[[Any], None] = lambda row: None

    async def sink(self, rows: Sequence[Any]) -> list[InvalidInput | None]:
        await asyncio.sleep(self.delay)
        refused = list[InvalidInput | None]()
        for row in rows:
            try:
                self.check(row)
            except InvalidInput as error:
                refused.append(error)
                continue
            refused.append(None)
            self.rows.append(row)
        return refused

    async def keep(self, frames: Sequence[Refused]) -> None:
        self.kept += frames

    async def load(self) -> int | None:
        return self.position

    async def save(self, update_id: int) -> None:
        self.position = update_id
        self.saves.append(update_id)

    def feed(self, url: str, key: str = KEY, **more: Any) -> BrusnikaFeed:
        settings = BrusnikaSettings(url=url, header_value=SecretStr(key), **more)
        return BrusnikaFeed(settings, self.sink, self.keep, self.load, self.save, backoff=lambda attempt: 0.01)

    def by_key(self) -> dict[str, list[Any]]:
        found = defaultdict(list)
        for row in self.rows:
            found[row[0]].append(row)
        return found


class Waits:
    """A back-off that only notes that it was asked."""

    def __init__(self) -> None:
        self.attempts: list[int] = []

    def __call__(self, attempt: int) -> float:
        self.attempts.append(attempt)
        return 0.01


@contextlib.asynccontextmanager
async def running(feed: BrusnikaFeed) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(feed.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def cities(*numbers: int) -> list[Change]:
    rows = [City(f"city-{n}", n, name="Тюмень") for n in numbers]
    return [Change(row.update_id or 0, data_frame(row), row) for row in rows]


def good(stream: Iterable[Change]) -> list[Any]:
    return [c.row for c in stream if c.row is not None]


class Server:
    """A feed that closes each connection after a while; ``known`` may grow meanwhile. ``most``: frames of one."""

    def __init__(self, known: list[tuple[str, int, str]], most: int = 10**9) -> None:
        self.known, self.most = known, most
        self.asked: list[int] = []

    async def __call__(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        after = int(parse_qs(urlsplit(socket.request.path).query).get("after", ["0"])[0])
        self.asked.append(after)
        for word, number, ext_id in [one for one in self.known if one[1] > after][: self.most]:
            data = {"update_id": number, "ext_id": ext_id, "name": "n"}
            await socket.send(json.dumps({"data": {"type": word, "data": data}, "error": None}))
        await asyncio.sleep(0.05)
        await socket.close(1001, "idle")


@contextlib.asynccontextmanager
async def serving(server: Any) -> AsyncIterator[str]:
    async with serve_websocket(server, "127.0.0.1", 0) as listening:
        yield f"ws://127.0.0.1:{next(iter(listening.sockets)).getsockname()[1]}"
