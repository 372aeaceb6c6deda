"""The main backend's twin in the suite of all twins."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from adapters.backend.queue import BackendQueue
from adapters.backend.settings import BackendSettings
from adapters.backend.twin.faults import Fault, OwnWay
from adapters.backend.twin.server import BackendTwin
from adapters.http_client import HttpRefused
from schemas.errors import DeliveryDenied
from tests.contract.suites.twin import Meaning, Scene, TwinSuite


class TestBackendTwin(TwinSuite):
    """A project is posted."""

    fault = Fault
    own: ClassVar[dict[str, Meaning]] = {
        OwnWay.NO_PATH: (None, DeliveryDenied),
        OwnWay.REFUSED: (None, HttpRefused),
    }

    @asynccontextmanager
    async def running(self, db_path: str | Path, timeout_s: float) -> AsyncIterator[Scene]:
        async with BackendTwin(db_path=db_path) as twin:
            settings = BackendSettings(base_url=twin.url, timeout_s=timeout_s)
            async with BackendQueue(settings) as queue:
                yield Scene(
                    twin.url,
                    twin.faults,
                    None,
                    lambda: queue.post("project", [b'{"ext_id":"p-%d"}' % len(twin.store.taken())]),
                    lambda: len(twin.store.taken()),
                )

    def planned(self, kind: str, **more: Any) -> Fault:
        return Fault(kind=kind, types=("project",), **more)
