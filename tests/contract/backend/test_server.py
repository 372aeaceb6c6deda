"""The main backend's clients on the log's server: every change once, in order, over each of the three framings."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import socketio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from adapters.backend import readers, web_socket
from adapters.backend.access import check_exposure, is_allowed, is_own_page
from adapters.backend.settings import BackendSettings
from schemas.errors import BrokenSetup
from tests.support.backend import KEY, Served, served
from tests.support.waiting import until

HEADERS = {"X-Kounter-Key": KEY}
PATIENCE_S = 30.0


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path, count=1_200) as running:
        yield running


async def frames(url: str, count: int, headers: dict[str, str] = HEADERS) -> list[Any]:
    """The first frames that a WebSocket brings."""
    async with asyncio.timeout(PATIENCE_S), connect(url, additional_headers=headers, close_timeout=0.1) as ws:
        return [json.loads(await ws.recv()) for _ in range(count)]


async def closed(url: str, headers: dict[str, str] = HEADERS) -> tuple[Any, int]:
    """The only frame of a connection, and the code that closes it."""
    async with asyncio.timeout(PATIENCE_S), connect(url, additional_headers=headers, close_timeout=0.1) as ws:
        frame = json.loads(await ws.recv())
        with pytest.raises(ConnectionClosed) as error:
            await ws.recv()
        assert error.value.rcvd is not None
        return frame, error.value.rcvd.code


def numbers(found: list[Any]) -> list[int]:
    return [frame["data"]["data"]["update_id"] for frame in found]


class SocketIO:
    """A Socket.IO client, and what it has received."""

    def __init__(self, client: socketio.AsyncClient) -> None:
        self.client = client
        self.frames: list[Any] = []
        self.refused: list[Any] = []
        client.on("events", self._event)
        client.on("connect_error", self._refuse)

    async def _event(self, frame: Any) -> None:
        self.frames.append(frame)

    async def _refuse(self, error: Any) -> None:
        self.refused.append(error)


@asynccontextmanager
async def socket_io(
    running: Served, *, auth: Any = None, query: str = "", headers: dict[str, str] = HEADERS, by: str = "websocket"
) -> AsyncIterator[SocketIO]:
    client = socketio.AsyncClient(reconnection=False)
    found = SocketIO(client)
    try:
        await client.connect(
            f"http://127.0.0.1:{running.port}{query}", headers=headers, auth=auth, transports=[by], wait_timeout=10
        )
    except socketio.exceptions.ConnectionError:
        await until(lambda: bool(found.refused))
    yield found
    await client.eio.disconnect(abort=True)  # else it waits for its last poll


@pytest.mark.parametrize("path", ["/", "/nest"])
async def test_all_changes_come_in_order_then_those_that_follow(running: Served, path: str) -> None:
    async with (
        asyncio.timeout(PATIENCE_S),
        connect(running.url + path, additional_headers=HEADERS, close_timeout=0.1) as ws,
    ):
        found = [json.loads(await ws.recv()) for _ in range(1_200)]
        running.append(3)
        found += [json.loads(await ws.recv()) for _ in range(3)]
    if path == "/nest":
        assert {frame["event"] for frame in found} == {"events"}
        found = [frame["data"] for frame in found]
    assert found[0] == {"data": {"type": "city", "data": {"update_id": 1}}, "error": None}
    assert numbers(found) == list(range(1, 1_204))


async def test_a_client_goes_on_behind_its_number(running: Served) -> None:
    assert numbers(await frames(f"{running.url}/?after=1197", 3)) == [1198, 1199, 1200]
    assert numbers(await frames(f"{running.url}/?after=0", 1)) == [1]


@pytest.mark.parametrize("after", ["-1", "abc", "1" + "0" * 30, "1.5", "1201"])
async def test_a_number_that_is_none_of_the_log_is_refused(running: Served, after: str) -> None:
    frame, code = await closed(f"{running.url}/?after={after}")
    assert code == 1008
    assert frame["data"] is None
    assert frame["error"]["id"] == 4006
    assert frame["error"]["meta"]["field"] == "after"
    assert "1200" in frame["error"]["meta"]["expected"]


async def test_a_number_beyond_the_copy_is_looked_for_in_the_log(running: Served) -> None:
    """Another replica, which is further, has served it."""
    before = running.catching_up
    await closed(f"{running.url}/?after=1201")
    assert running.catching_up == before + 1


@pytest.mark.parametrize("headers", [{}, {"X-Kounter-Key": "wrong"}, {"X-Kounter-Key": KEY + "é"}])
async def test_a_wrong_header_gets_the_published_frame(running: Served, headers: dict[str, str]) -> None:
    frame, code = await closed(running.url, headers)
    assert code == 1008
    text = "Client connection denied!"
    labels = {"en": text, "ru": text, "uz": text}
    assert frame == {"data": None, "error": {"id": 400, "labels": labels, "meta": {"message": "Invalid custom header"}}}


@pytest.mark.parametrize("by", ["websocket", "polling"])
async def test_socket_io_brings_all_then_those_that_follow(running: Served, by: str) -> None:
    async with socket_io(running, by=by) as client:
        await until(lambda: len(client.frames) == 1_200)
        running.append(2)
        await until(lambda: len(client.frames) == 1_202)
    assert numbers(client.frames) == list(range(1, 1_203))
    assert client.frames[0] == {"data": {"type": "city", "data": {"update_id": 1}}, "error": None}


@pytest.mark.parametrize(("auth", "query"), [({"after": 1198}, ""), ({"after": "1198"}, ""), (None, "?after=1198")])
async def test_socket_io_goes_on_behind_its_number(running: Served, auth: Any, query: str) -> None:
    async with socket_io(running, auth=auth, query=query) as client:
        await until(lambda: len(client.frames) == 2)
    assert numbers(client.frames) == [1199, 1200]


@pytest.mark.parametrize("auth", [{"after": -1}, {"after": True}, {"after": [1]}, {"after": 1201}, {"after": 1.5}])
async def test_socket_io_refuses_a_number_that_is_none(running: Served, auth: Any) -> None:
    async with socket_io(running, auth=auth) as client:
        assert client.refused[0]["data"]["error"]["id"] == 4006
    assert client.frames == []


async def test_socket_io_refuses_a_wrong_header_with_the_published_frame(running: Served) -> None:
    async with socket_io(running, headers={}) as client:
        (refused,) = client.refused
    assert refused["message"] == "Invalid custom header"
    assert (refused["data"]["data"], refused["data"]["error"]["id"]) == (None, 400)


async def test_a_client_that_does_not_read_is_cut(running: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others go on meanwhile."""
    monkeypatch.setattr(web_socket, "STALL_S", 0.3)
    monkeypatch.setattr(web_socket, "RENEW_S", 0.1)
    running.append(1_000, json.dumps({"text": "x" * 20_000}))
    head = f"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Kounter-Key: {KEY}\r\n"
    head += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    with socket.create_connection(("127.0.0.1", running.port)) as stalled:
        await asyncio.to_thread(stalled.sendall, head.encode())
        await until(lambda: running.readers.count)
        assert len(await frames(running.url, 2_200)) == 2_200
        await until(lambda: not running.readers.count)


async def test_there_may_be_so_many_readers(running: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "MOST_READERS", 1)
    async with connect(running.url, additional_headers=HEADERS, close_timeout=0.1) as first:
        await first.recv()
        async with connect(running.url, additional_headers=HEADERS, close_timeout=0.1) as second:
            with pytest.raises(ConnectionClosed) as error:
                await second.recv()
    assert error.value.rcvd is not None
    assert error.value.rcvd.code == 1013


async def test_health_says_when_something_waits_for_long(running: Served) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.port}") as client:
        assert (await client.get("/health")).json() == {
            "ok": True, "waits_long": False, "copied": 1_200, "readers": 0, "waiting": 0, "oldest_s": 0.0,
        }  # fmt: skip
        running.state = {"waiting": 3, "oldest_s": 601.0}
        answer = await client.get("/health")
        assert (answer.status_code, answer.json()["waits_long"]) == (503, True)
        text = (await client.get("/metrics")).text
        assert "kounter_backend_oldest_seconds 601\n" in text
        assert (await client.get("/")).status_code == 426


async def test_pages_of_other_sites_do_not_read_the_log(tmp_path: Path) -> None:
    async with served(tmp_path, value="", count=1) as running:
        assert numbers(await frames(running.url, 1, {})) == [1]
        with pytest.raises(Exception, match="403"):
            await frames(running.url, 1, {"Origin": "https://evil.example"})
        assert is_own_page("http://localhost:1", "localhost:1")


def test_beyond_this_machine_the_log_needs_a_value() -> None:
    with pytest.raises(BrokenSetup, match=r"0\.0\.0\.0:7172"):
        check_exposure(BackendSettings(listen="0.0.0.0:7172"))
    check_exposure(BackendSettings(listen="[::1]:7172"))
    check_exposure(BackendSettings.model_validate({"listen": "0.0.0.0:7172", "header_value": "x"}))


def test_a_header_that_comes_twice_is_wrong() -> None:
    settings = BackendSettings.model_validate({"header_value": "x"})
    assert is_allowed(settings, ["x"])
    assert not is_allowed(settings, ["x", "x"])
    assert not is_allowed(settings, ["\udce9"])
