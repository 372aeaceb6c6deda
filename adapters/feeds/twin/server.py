"""The twin of feed files: a server of a developer's files in all formats, with the faults that real ones have."""

from __future__ import annotations

from contextlib import AsyncExitStack

from adapters.feeds.twin.app import FeedsApp
from adapters.feeds.twin.developer import Developer
from adapters.feeds.twin.faults import Fault
from adapters.twin_kit.faults import Faults
from adapters.twin_kit.server import HttpTwin


class FeedsTwin(HttpTwin):
    """``async with FeedsTwin(seed=1) as twin: twin.url("yandex")``. The names of its feeds are in `app.FEEDS`."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, seed: int = 1, flats: int = 300) -> None:
        super().__init__(host, port)
        self.developer = Developer(seed, flats)
        self.faults = Faults[Fault](seed)
        self.app: FeedsApp

    def url(self, name: str) -> str:
        """Return the address of a feed."""
        return f"http://{self.address}/feed/{name}/"

    def begin(self, stack: AsyncExitStack) -> FeedsApp:
        """Return the application."""
        self.app = FeedsApp(self.developer, self.faults)
        return self.app
