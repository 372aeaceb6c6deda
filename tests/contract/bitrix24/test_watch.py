"""The watch against the twin: a person's changes become records, ours are not said twice, nothing goes in circles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from adapters.bitrix24.leads import Leads
from adapters.bitrix24.settings import Bitrix24HookSettings, WatchSettings
from adapters.bitrix24.twin.server import Bitrix24Twin
from adapters.bitrix24.twin.webhook import Hook
from adapters.bitrix24.watch import PortalWatch
from adapters.bitrix24.webhook import hooks_router
from kounter.process.sockets import bind
from schemas.bitrix24 import CardChanged, PortalComment
from tests.support.systems.bitrix24 import ORIGINATOR, ask, client_of, plain

TOKEN = "test-token"
MARK = "7f0c7b0e-6f0a-5a54-9d7c-3d0e2f1b8a61"


class Told:
    """What the watch has produced."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, Any]] = []

    async def send(self, row: Any, topic: str) -> None:
        self.rows.append((topic, row))

    async def until(self, count: int) -> list[tuple[str, Any]]:
        async with asyncio.timeout(60):
            while len(self.rows) < count:  # noqa: ASYNC110 - a test may poll
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        return self.rows


@asynccontextmanager
async def watched(
    twin: Bitrix24Twin, folder: Path, *, hooks: bool = True, every_s: float = 3600
) -> AsyncIterator[Told]:
    told = Told()
    hook = Bitrix24HookSettings(application_token=SecretStr(TOKEN))
    settings = WatchSettings(every_s=max(1, every_s), hook=hook)
    async with client_of(twin) as client:
        watch = PortalWatch(client, Leads(client), ORIGINATOR, settings, told.send, folder / "notes.json")
        app = FastAPI()
        app.include_router(hooks_router(hook, watch.take))
        listening = bind("127.0.0.1:0", "TEST")
        url = f"http://127.0.0.1:{listening.getsockname()[1]}{hook.path}"
        server = uvicorn.Server(uvicorn.Config(app, log_config=None))
        running = [asyncio.create_task(server.serve([listening])), asyncio.create_task(watch.run())]
        if hooks:
            twin.portal.hooks.register(Hook(url, TOKEN))
        try:
            yield told
        finally:
            twin.portal.hooks.register(None)
            server.should_exit = True
            running[1].cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def lead(http: httpx.AsyncClient, origin: str, **fields: Any) -> int:
    ours = {"ORIGINATOR_ID": ORIGINATOR, "ORIGIN_ID": origin, "TITLE": "Т", **fields}
    made: int = await ask(http, "crm.lead.add", fields=ours)
    return made


async def test_a_persons_change_becomes_a_record_at_once(twin: Bitrix24Twin, tmp_path: Path) -> None:
    async with watched(twin, tmp_path) as told, plain(twin) as http:
        id = await lead(http, "estate.lead:l-1", STATUS_ID="NEW")
        await lead(http, "somebody else's")
        await told.until(1)
        await ask(http, "crm.lead.update", id=id, fields={"STATUS_ID": "IN_PROCESS"})
        rows = await told.until(2)
        await ask(http, "crm.lead.update", id=id, fields={"STATUS_ID": "IN_PROCESS"})
        await ask(http, "crm.lead.delete", id=id)
        rows = await told.until(3)
    assert [topic for topic, _ in rows] == ["estate.lead"] * 3
    assert [(r.ext_id, r.portal_lead_id, r.portal_stage, r.portal_deleted) for _, r in rows] == [
        ("l-1", id, "NEW", None), ("l-1", id, "IN_PROCESS", None), ("l-1", id, "IN_PROCESS", True)
    ]  # fmt: skip


async def test_what_the_webhook_did_not_say_is_found(twin: Bitrix24Twin, tmp_path: Path) -> None:
    async with plain(twin) as http:
        ids = [await lead(http, f"crm.user:{n}", STATUS_ID="NEW") for n in range(120)]
        async with watched(twin, tmp_path, hooks=False, every_s=1) as told:
            await told.until(120)
            await ask(http, "crm.lead.update", id=ids[7], fields={"STATUS_ID": "JUNK"})
            rows = await told.until(121)
        assert {row.ext_id for _, row in rows[:120]} == {str(n) for n in range(120)}
        assert rows[120:] == [("crm.user", rows[120][1])]
        assert (rows[120][1].ext_id, rows[120][1].portal_stage) == ("7", "JUNK")
        async with watched(twin, tmp_path, hooks=False, every_s=1) as again:
            await asyncio.sleep(1.5)
            assert all(isinstance(row, CardChanged) for _, row in again.rows)


async def test_what_a_person_wrote_with_markup_reaches_the_abonent_as_words(twin: Bitrix24Twin, tmp_path: Path) -> None:
    async with watched(twin, tmp_path) as told, plain(twin) as http:
        abonent = await lead(http, "abonent:15")
        await told.until(1)
        control = f"{twin.url}_twin/leads/{abonent}/comments"
        for text in ("[B]// Едем[/B]", '[P]// Мастер "Пётр"[/P]\n[P]<завтра> 😀[/P]', f"[P]наше[/P]\n[P][{MARK}][/P]"):
            assert (await http.post(control, json={"comment": text})).status_code == 200
        rows = await told.until(3)
        await ask(http, "crm.lead.update", id=abonent, fields={"TITLE": "", "NAME": "Пётр &amp; Ко"})
        rows = await told.until(4)
    assert [row.portal_comment for _, row in rows[1:3]] == ["Едем", 'Мастер "Пётр"\n\n<завтра> 😀']
    assert (rows[3][1].portal_name, rows[3][1].portal_opportunity) == ("Пётр & Ко", 0)


async def test_only_a_persons_words_with_the_prefix_go_to_an_abonent(twin: Bitrix24Twin, tmp_path: Path) -> None:
    async with watched(twin, tmp_path) as told, plain(twin) as http:
        abonent, other = await lead(http, "abonent:15"), await lead(http, "estate.lead:l-1")
        await told.until(2)
        for id, text in (
            (abonent, "просто заметка"), (abonent, f"// от абонента\n[{MARK}]"), (abonent, "//"), (other, "// не туда"),
            (abonent, "// Мастер будет в 15:00"),
        ):  # fmt: skip
            fields = {"ENTITY_ID": id, "ENTITY_TYPE": "lead", "COMMENT": text}
            last = await ask(http, "crm.timeline.comment.add", fields=fields)
        rows = await told.until(3)
    assert rows[2:] == [("domofon.abonent", PortalComment("15", last, "Мастер будет в 15:00"))]
