"""The main backend's twin: its door over HTTP."""

from __future__ import annotations

from contextlib import AsyncExitStack

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from adapters.backend.twin.door import Door
from adapters.twin_kit.server import HttpTwin


class BackendTwin(HttpTwin):
    """``async with BackendTwin() as twin: twin.url``. ``key``: of encrypted bodies; None takes plain ones."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, key: RSAPrivateKey | None = None) -> None:
        super().__init__(host, port)
        self.door = Door(key)

    @property
    def url(self) -> str:
        """Returns the address that a client posts to."""
        return f"http://{self.address}"

    def begin(self, stack: AsyncExitStack) -> Door:
        """Returns the application."""
        return self.door
