"""The connector of a developer's feed files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from adapters.connector import Connector, Context, Inbound, OpenSource, ServedTwin, Twin, TwinOption
from adapters.feeds.settings import FeedsSettings

if TYPE_CHECKING:
    from adapters.feeds.twin.developer import Developer
    from schemas.codec.serde import Serde

NAME: Final = "feeds"
WRITTEN: Final = ("estate.city", "estate.project", "estate.building", "estate.section", "estate.premise")


def _written() -> Iterable[str]:
    return WRITTEN


@asynccontextmanager
async def _files(context: Context, serde: Serde) -> AsyncIterator[OpenSource]:
    from adapters.feeds.source import FeedFiles

    yield OpenSource(FeedFiles(context.part(FeedsSettings), context.kafka, serde))


@asynccontextmanager
async def _serve(context: Context, host: str, port: int, *, tick: float) -> AsyncIterator[ServedTwin]:
    from adapters.feeds.twin.server import FeedsTwin

    async with FeedsTwin(host=host, port=port) as twin:
        ticking = asyncio.create_task(_keep_ticking(twin.developer, tick))
        try:
            yield ServedTwin(twin.url("yandex"), twin.url("yandex"))
        finally:
            ticking.cancel()
            with suppress(asyncio.CancelledError):
                await ticking


async def _keep_ticking(developer: Developer, seconds: float) -> None:
    while seconds:
        await asyncio.sleep(seconds)
        developer.tick()


async def _alarms(context: Context) -> list[str]:
    from adapters.feeds.state import alarms

    return await alarms(context.kafka, time.time_ns() // 1_000)


def _stand_in(context: Context, address: str) -> FeedsSettings:
    return FeedsSettings.model_validate({"sources": [{"name": "twin", "url": address, "every_s": 10}]})


FEEDS: Final = Connector(
    name=NAME,
    title="Developer's",
    noun="feed files",
    settings=FeedsSettings,
    is_set=lambda context: bool(context.part(FeedsSettings).sources),
    variables="KOUNTER_FEEDS__SOURCES",
    source=Inbound(process="feed-files", writes=_written, open=_files),
    alarms=_alarms,
    twin=Twin(
        port=7184,
        serve=_serve,
        stand_in=_stand_in,
        options=[TwinOption("tick", float, 30, "Feed files: seconds between changes; 0 for none.", 0)],
    ),
)
