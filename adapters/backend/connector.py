"""The connector of the main backend's own door. Its log has a command of its own, `kounter backend`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from adapters.backend.settings import LONG_S, BackendSettings
from adapters.connector import Connector, Context, Deliveries, OpenSinks, ServedTwin, Twin, TwinOption

if TYPE_CHECKING:
    from streams.backend_log.backlog import Backlog
    from streams.kafka.topics import Topic

NAME: Final = "backend"
SINKS: Final = {NAME: "backend.events"}


def _topics() -> list[Topic]:
    from schemas.backend import EVENTS
    from streams.kafka.topics import KEPT, Topic

    return [Topic(EVENTS, KEPT, partitions=1)]


@asynccontextmanager
async def _sinks(context: Context) -> AsyncIterator[OpenSinks]:
    from adapters.backend.queue import BackendQueue
    from adapters.backend.sink import BackendSink

    settings = context.part(BackendSettings)
    async with BackendQueue(settings) as queue:
        sink = BackendSink(queue)
        try:
            yield OpenSinks([sink], settings.timeout_s)
        finally:
            await sink.close()


@asynccontextmanager
async def _serve(
    context: Context, host: str, port: int, *, private_key: Path | None, follow: bool
) -> AsyncIterator[ServedTwin]:
    """The twin keeps its things in the data folder, apart for each way by which they come."""
    from adapters.backend.twin.server import BackendTwin
    from adapters.envelope import private_key as read_key

    folder = context.data_dir / "twins"
    folder.mkdir(parents=True, exist_ok=True)
    key = None if private_key is None else read_key(private_key, "--private-key")
    async with AsyncExitStack() as stack:
        twin = BackendTwin(host=host, port=port, db_path=folder / "backend.sqlite", key=key)
        await stack.enter_async_context(twin)
        if follow:
            for way in ("web-socket", "socket-io"):
                file = folder / f"backend-{way}.sqlite"
                await stack.enter_async_context(_following(context, file, by_socket_io=way == "socket-io"))
        yield ServedTwin(twin.url, f"{twin.url} (its door)")


@asynccontextmanager
async def _following(context: Context, path: Path, *, by_socket_io: bool) -> AsyncIterator[None]:
    from adapters.backend.twin.reader import LogReader
    from adapters.backend.twin.store import BackendStore

    settings, store = context.part(BackendSettings), BackendStore(path)
    headers = {settings.header_name: settings.header_value.get_secret_value()}
    reading = asyncio.create_task(LogReader(store, settings.listen, headers, by_socket_io=by_socket_io).run())
    try:
        yield
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        store.close()


def _log_topics(context: Context) -> list[Topic]:
    from streams.backend_log.topics import log_topics

    return log_topics() if context.part(BackendSettings).enabled else []


async def _alarms(context: Context) -> list[str]:
    from streams.backend_log.backlog import backlog

    found = await backlog(context.kafka)
    return alarms_of(found, time.time_ns() // 1_000_000)


def alarms_of(found: Backlog, now_ms: int) -> list[str]:
    """Returns a text if changes have waited for too long."""
    age_s = found.age_s(now_ms)
    if age_s <= LONG_S:
        return []
    some = "one change waits" if found.waiting == 1 else f"{found.waiting} changes wait"
    return [
        f"backend: {some} for a parent, the oldest for {age_s / 60:.0f} min; `kounter waiting` lists what is missing"
    ]


def _stand_in(context: Context, address: str) -> BackendSettings:
    return context.part(BackendSettings).model_copy(update={"base_url": address})


BACKEND: Final = Connector(
    name=NAME,
    title="Main backend",
    noun="door",
    settings=BackendSettings,
    is_set=lambda context: bool(context.part(BackendSettings).base_url),
    variables="KOUNTER_BACKEND__BASE_URL",
    deliveries=Deliveries(SINKS, None, _sinks, _topics),
    twin=Twin(
        port=7185,
        serve=_serve,
        stand_in=_stand_in,
        options=[
            TwinOption("private_key", Path | None, None, "Main backend: PEM of the key of encrypted bodies."),
            TwinOption("follow", bool, False, "Main backend: read the log's sockets too, and break off now and then."),
        ],
    ),
    topics=_log_topics,
    alarms=_alarms,
    is_wanted=lambda context: context.part(BackendSettings).enabled,
    files=[NAME, "backend-log"],  # the copy of the log, and that of its writer's memory
)
