"""Addresses, headers and redirects of the feed: its secret is for its own host, and denials end it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from loguru import logger
from pydantic import ValidationError
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websocket

from adapters.brusnika.settings import BrusnikaSettings
from adapters.brusnika.twin.frames import data_frame
from adapters.brusnika.twin.server import BrusnikaTwin
from schemas.errors import BrokenSetup, DeliveryDenied
from schemas.estate import City
from tests.support.systems.brusnika import KEY, Shell, running
from tests.support.waiting import until


async def test_a_wrong_header_stops_the_feed_with_what_to_check() -> None:
    shell = Shell()
    async with BrusnikaTwin(header_value=KEY) as twin:
        with pytest.raises(DeliveryDenied) as caught:
            await asyncio.wait_for(shell.feed(twin.url, key="wrong-key").run(), 60)
        assert "HEADER_VALUE" in caught.value.hint
        assert "wrong-key" not in str(caught.value)
        assert (twin.status.connections, twin.status.refused) == (1, 1)
        async with connect(twin.url) as bare:  # a client that we did not write sees the published frame, then 1008
            assert json.loads(await bare.recv())["error"]["meta"] == {"message": "Invalid custom header"}
            await bare.wait_closed()
            assert bare.close_code == 1008


async def test_a_silent_upgrade_refusal_by_http_is_a_denial() -> None:
    async def never(socket: ServerConnection) -> None:
        raise AssertionError

    async with serve_websocket(never, "127.0.0.1", 0, process_request=lambda s, r: s.respond(403, "no")) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        with pytest.raises(DeliveryDenied):
            await asyncio.wait_for(Shell().feed(f"ws://127.0.0.1:{port}").run(), 60)


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:1/", "nonsense"])
async def test_an_unusable_address_is_a_broken_setup(url: str) -> None:
    with pytest.raises(BrokenSetup):
        await asyncio.wait_for(Shell().feed(url).run(), 60)


@pytest.mark.parametrize("bad", [{"header_name": "X Key"}, {"header_name": "X\r\nY"}, {"header_value": "a\r\nX: y"}])
def test_a_header_that_would_inject_another_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BrusnikaSettings(**bad)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location",
    [
        "ws://localhost:{other}/x?{secret}",
        "wss://127.0.0.1:{port}/",
        "http://127.0.0.1:{other}/",
        "//localhost:{other}/",
        "ws://[/",
        "",
    ],
)
async def test_a_redirect_elsewhere_is_not_followed(status: int, location: str) -> None:
    """The header that opens the feed is for its own host, port and scheme."""
    seen: list[str] = []
    said: list[str] = []

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.close()

    other = await asyncio.start_server(elsewhere, "127.0.0.1", 0)
    ports = {"other": other.sockets[0].getsockname()[1], "port": 0, "secret": "token=abc"}
    asked: list[str] = []

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        where = location.format(**ports)
        writer.write(f"HTTP/1.1 {status} Found\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(redirect, "127.0.0.1", 0)
    ports["port"] = server.sockets[0].getsockname()[1]
    handler = logger.add(lambda line: said.append(str(line)), format="{message}")
    try:
        async with running(Shell().feed(f"ws://127.0.0.1:{ports['port']}/")):
            await until(lambda: len(said) >= 2)
    finally:
        logger.remove(handler)
        other.close()
        server.close()
    assert seen == []
    assert KEY in asked[0]
    assert not any(KEY in line or "token=abc" in line for line in said)
    if location.startswith("ws://localhost"):
        assert f"redirects to 'ws://localhost:{ports['other']}'" in said[0]


async def test_a_redirect_within_the_host_is_followed() -> None:
    shell = Shell()

    def move(socket: ServerConnection, request: Any) -> Any:
        if request.path != "/feed/":
            answer = socket.respond(302, "there")
            answer.headers["Location"] = "/feed/"
            return answer
        return None

    async def good(socket: ServerConnection) -> None:
        assert socket.request is not None
        if socket.request.headers["X-Kounter-Key"] == KEY:
            await socket.send(data_frame(City("c", 1)))
        await socket.wait_closed()

    async with serve_websocket(good, "127.0.0.1", 0, process_request=move) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with running(shell.feed(f"ws://127.0.0.1:{port}/")):
            await until(lambda: len(shell.rows) == 1)
