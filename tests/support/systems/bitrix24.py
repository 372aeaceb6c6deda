"""What the Bitrix24 contract tests share: a twin, a client of it, and the specs where they are at hand."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from adapters.bitrix24.rest.client import Bitrix24Client
from adapters.bitrix24.settings import Bitrix24Settings
from adapters.bitrix24.twin.server import Bitrix24Twin

SPECS = Path(os.environ.get("CONTRACT_SPECS", Path(__file__).parents[4] / "shared" / "specs")) / "bitrix24"
needs_specs = pytest.mark.skipif(
    not SPECS.is_dir(), reason="no CONTRACT_SPECS, see docs/contracts/README.md#specifications"
)
ORIGINATOR = "kounter"


def sample(name: str) -> Any:
    """A sample body of the specs."""
    return json.loads((SPECS / "samples" / f"{name}.json").read_text("utf-8"))


def settings_of(twin: Bitrix24Twin, timeout_s: float = 5.0, **more: Any) -> Bitrix24Settings:
    """Settings by which a client finds the twin."""
    url = SecretStr(twin.webhook_url)
    given = {"calls_per_s": 100.0, "originator": ORIGINATOR} | more
    return Bitrix24Settings(webhook_url=url, timeout_s=timeout_s, **given)


@asynccontextmanager
async def client_of(twin: Bitrix24Twin, timeout_s: float = 5.0, **more: Any) -> AsyncIterator[Bitrix24Client]:
    """A client of the twin."""
    async with Bitrix24Client(settings_of(twin, timeout_s, **more)) as client:
        yield client


@asynccontextmanager
async def plain(twin: Bitrix24Twin) -> AsyncIterator[httpx.AsyncClient]:
    """Bare HTTP below the twin's webhook."""
    async with httpx.AsyncClient(base_url=twin.webhook_url, trust_env=False, timeout=60) as http:
        yield http


async def ask(http: httpx.AsyncClient, method: str, **params: Any) -> Any:
    """The result of a call that must succeed."""
    answer = await http.post(method, json=params)
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


async def fail(http: httpx.AsyncClient, method: str, **params: Any) -> tuple[int, str, str]:
    """Status, code and text of a call that must fail."""
    answer = await http.post(method, json=params)
    body = answer.json()
    return answer.status_code, body["error"], body["error_description"]


async def register(twin: Bitrix24Twin, url: str) -> None:
    async with httpx.AsyncClient(base_url=twin.url, trust_env=False) as control:
        answer = await control.post("_twin/webhook", json={"url": url, "application_token": "of the test"})
        assert answer.status_code == 200, answer.text


class Listener:
    """Takes the twin's events."""

    def __init__(self, status: int = 200) -> None:
        self._status, self._bodies = status, asyncio.Queue[str]()

    async def __aenter__(self) -> Listener:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/hook"

    @property
    def empty(self) -> bool:
        return self._bodies.empty()

    async def next(self) -> str:
        return await asyncio.wait_for(self._bodies.get(), 60)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert "content-type: application/x-www-form-urlencoded" in head
        length = int(head.partition("content-length:")[2].partition("\r\n")[0])
        self._bodies.put_nowait((await reader.readexactly(length)).decode())
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % self._status)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
