"""The log's server on a free port, over a log that tests fill by hand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from adapters.backend.readers import Readers
from adapters.backend.server import serving
from adapters.backend.settings import BackendSettings
from kounter.process.sockets import bind
from tables.event_log import EventLog, Logged

KEY = "s3cret"


class Served:
    """A running server."""

    def __init__(self, log: EventLog, readers: Readers, port: int) -> None:
        self.log, self.readers, self.port = log, readers, port
        self.state: dict[str, Any] = {"waiting": 0, "oldest_s": 0.0}
        self.catching_up = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def append(self, count: int, frame: str = "{}") -> None:
        """Append as many events."""
        first = self.log.last + 1
        events = [
            Logged(n, "city", json.dumps(json.loads(frame) | {"update_id": n})) for n in range(first, first + count)
        ]
        self.log.append(events, first + count)
        self.readers.wake()


@asynccontextmanager
async def served(folder: Path, *, value: str = KEY, count: int = 0, port: int = 0) -> AsyncIterator[Served]:
    """A server over what the folder has and ``count`` events more."""
    log = EventLog(folder / "log.sqlite")
    settings = BackendSettings(header_value=SecretStr(value))

    async def catch_up(timeout_s: float) -> None:
        running.catching_up += 1

    readers = Readers(log, catch_up)
    listener = bind(f"127.0.0.1:{port}", "none")
    running = Served(log, readers, listener.getsockname()[1])
    running.append(count)
    try:
        async with serving(settings, readers, lambda: running.state, listener):
            yield running
    finally:
        log.close()
