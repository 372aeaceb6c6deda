"""The watch over the portal in the suite of all sources."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from adapters.bitrix24.leads import Leads
from adapters.bitrix24.settings import WatchSettings
from adapters.bitrix24.twin.server import Bitrix24Twin
from adapters.bitrix24.watch import PortalWatch
from tests.contract.suites.source import Scene, SourceSuite
from tests.support.systems.bitrix24 import ORIGINATOR, ask, client_of, plain


class TestPortalWatch(SourceSuite):
    """A change is a lead of ours; no webhook reports it, the watch looks for what changed."""

    @asynccontextmanager
    async def opened(self, folder: Path) -> AsyncIterator[Scene]:
        rows: list[Any] = []

        async def send(row: Any, topic: str) -> None:
            rows.append(row)

        async with Bitrix24Twin() as twin, client_of(twin) as client, plain(twin) as http:

            async def say(changes: Collection[str]) -> None:
                for change in changes:
                    ours = {"ORIGINATOR_ID": ORIGINATOR, "ORIGIN_ID": f"crm.user:{change}", "TITLE": "Т"}
                    await ask(http, "crm.lead.add", fields=ours)

            @asynccontextmanager
            async def running() -> AsyncIterator[None]:
                settings = WatchSettings(every_s=1)
                watch = PortalWatch(client, Leads(client), ORIGINATOR, settings, send, folder / "notes.json")
                task = asyncio.create_task(watch.run())
                yield
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

            yield Scene(say, running, lambda: [row.ext_id for row in rows])
