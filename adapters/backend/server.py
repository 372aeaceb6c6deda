"""The server of the numbered log: one port for plain WebSocket, NestJS's framing, Socket.IO, and its own state."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import orjson
from aiohttp import web

from adapters.backend import frames
from adapters.backend.readers import Readers
from adapters.backend.settings import LONG_S, BackendSettings
from adapters.backend.socket_io import LogNamespace
from adapters.backend.web_socket import LogSocket

GRACE_S: Final = 1.0
METRICS: Final[Mapping[str, str]] = {
    "oldest_s": "oldest_seconds",
    **{name: f"{name}_total" for name in ("taken", "written", "sent_without")},
    **{name: f"{name}_total" for name in ("undecodable", "transactions", "tenures")},
}
"""Names of metrics where they differ from those of the state."""
State = Mapping[str, float | bool | None]


@asynccontextmanager
async def serving(
    settings: BackendSettings, readers: Readers, state: Callable[[], State], listener: socket.socket
) -> AsyncIterator[None]:
    """Serve while the block runs. ``state`` returns for ``/health`` what is known of the writer, ``waiting`` and
    ``oldest_s``, and of the copy, ``reading``."""
    app = web.Application(client_max_size=1 << 20)
    namespace = LogNamespace(settings, readers, app)
    app.middlewares.append(namespace.bound)
    app.router.add_get("/", LogSocket(settings, readers, frames.plain).serve)
    app.router.add_get("/nest", LogSocket(settings, readers, frames.nest).serve)
    pages = _Pages(readers, state)
    app.router.add_get("/health", pages.health)
    app.router.add_get("/metrics", pages.metrics)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=GRACE_S)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield
    finally:
        await runner.cleanup()


class _Pages:
    """The state of this replica for people and for monitors."""

    def __init__(self, readers: Readers, state: Callable[[], State]) -> None:
        self._readers, self._state = readers, state

    def _now(self) -> dict[str, Any]:
        return {"copied": self._readers.last, "readers": self._readers.count, **self._state()}

    async def health(self, request: web.Request) -> web.Response:
        """Answer 503 while a change has waited for its parent for over ten minutes, or the log is not read."""
        now = self._now()
        late = (now.get("oldest_s") or 0.0) > LONG_S
        ok = not late and now.get("reading") is not False
        body = {"ok": ok, "waits_long": late, **now}
        return web.Response(status=200 if ok else 503, body=orjson.dumps(body), content_type="application/json")

    async def metrics(self, request: web.Request) -> web.Response:
        """Answer in Prometheus's text form."""
        lines = []
        for name, value in self._now().items():
            if value is not None:
                lines.append(f"kounter_backend_{METRICS.get(name, name)} {float(value):g}")
        return web.Response(text="\n".join(lines) + "\n", content_type="text/plain")
