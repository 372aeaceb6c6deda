"""The connector of the main backend's own door. Its log has a command of its own, `kounter backend`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from adapters.backend.settings import BackendSettings
from adapters.connector import Connector, Context, Deliveries, OpenSinks

NAME: Final = "backend"
SINKS: Final = {NAME: "backend.events"}


@asynccontextmanager
async def _sinks(context: Context) -> AsyncIterator[OpenSinks]:
    from adapters.backend.queue import BackendQueue
    from adapters.backend.sink import BackendSink

    settings = context.part(BackendSettings)
    async with BackendQueue(settings) as queue:
        yield OpenSinks([BackendSink(queue)], settings.timeout_s)


BACKEND: Final = Connector(
    name=NAME,
    title="The main backend's",
    noun="door",
    settings=BackendSettings,
    is_set=lambda context: bool(context.part(BackendSettings).base_url),
    variables="KOUNTER_BACKEND__BASE_URL",
    deliveries=Deliveries(SINKS, None, _sinks, in_order=True),
    files=[NAME, "backend-log"],  # the copy of the log, and that of its writer's memory
)
