"""The client of the main backend's door in the suite of all clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters.backend.queue import BackendQueue
from adapters.backend.settings import BackendSettings
from tests.contract.suites.client import Calls, ClientSuite


class TestBackendClient(ClientSuite):
    """It has no secret: bodies are encrypted with a public key."""

    secrets = ()

    @asynccontextmanager
    async def client(self, url: str, timeout_s: float) -> AsyncIterator[Calls]:
        async with BackendQueue(BackendSettings(base_url=url, timeout_s=timeout_s)) as queue:
            yield Calls(None, lambda: queue.post("project", [b"{}"]))
