"""The main backend's twin: its door over HTTP. Source: docs/contracts/brusnika.md#queue."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from adapters.backend.twin.app import TwinApp
from adapters.backend.twin.faults import Fault
from adapters.backend.twin.store import BackendStore
from adapters.twin_kit.faults import Faults
from adapters.twin_kit.server import HttpTwin


class BackendTwin(HttpTwin):
    """``async with BackendTwin() as twin: twin.url``. ``key``: of encrypted bodies; None takes plain ones."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        db_path: str | Path = ":memory:",
        key: RSAPrivateKey | None = None,
        seed: int = 1,
    ) -> None:
        super().__init__(host, port)
        self._db_path, self._key = db_path, key
        self.faults = Faults[Fault](seed)
        self.store: BackendStore
        self.app: TwinApp

    @property
    def url(self) -> str:
        """The address that a client posts to."""
        return f"http://{self.address}"

    def begin(self, stack: AsyncExitStack) -> TwinApp:
        """Open the backend's state. Raises ValueError for a file of another layout."""
        self.store = BackendStore(self._db_path)
        stack.callback(self.store.close)
        self.app = TwinApp(self.store, self.faults, self._key)
        return self.app
