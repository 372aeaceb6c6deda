"""The main backend's own door, ``POST {base}/queue/{type}``. Source: docs/contracts/brusnika.md#queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Self

from adapters.backend.cipher import sealing
from adapters.backend.settings import BackendSettings
from adapters.http_client import HttpClient
from adapters.loopback import is_local

PATHS: Final[Mapping[str, str]] = {
    "project": "project",
    "building": "building",
    "section": "section",
    "premise": "premise",
    "client": "client",
    "lead": "lead",
    "lead_op": "lead-ops",
    "user": "user",
    "booking": "booking",
    "VISIT": "visit",
    "task": "task",
    "agency": "agency",
}
"""Paths by wire type. The backend has none for other types."""


class BackendQueue(HttpClient):
    """A client of the door. Raises BrokenSetup for an address or a key file that can't be used."""

    def __init__(self, settings: BackendSettings) -> None:
        self._seal = sealing(settings.public_key_file)
        super().__init__(
            settings.base_url, "the main backend", setting="KOUNTER_BACKEND__BASE_URL", timeout_s=settings.timeout_s,
            headers={"Content-Type": "application/json"}, plain=is_local,
        )  # fmt: skip

    async def __aenter__(self) -> Self:
        return self

    async def post(self, word: str, body: str) -> bool:
        """Post a thing. Returns False for a type that the backend has no path for. Raises DeliveryError."""
        if (path := PATHS.get(word)) is None:
            return False
        await self.request("POST", f"queue/{path}", write=True, content=self._seal(body.encode()))
        return True
