"""Clients who keep the gateway waiting, over real sockets: they are cut off, and nobody else notices."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from kounter.gateway.server import PatientProtocol
from tests.support.gateway import application, leads, local_reader, put
from tests.support.waiting import until

PATIENCE_S = 0.4
HEAD = b"POST /users HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
LIVE = b"GET /api/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Impatient(PatientProtocol):
    patience_s = PATIENCE_S


class Server(uvicorn.Server):
    address: tuple[str, int]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Server]:
        with closing(socket.create_server(("127.0.0.1", 0))) as listening:
            task = asyncio.create_task(self._serve([listening]))
            while not self.started:
                if task.done():
                    await task
                await asyncio.sleep(0.01)
            try:
                self.address = listening.getsockname()
                yield self
            finally:
                self.should_exit = True
                await task


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    with local_reader(tmp_path) as (reader, view):
        put(view, "estate.lead", *leads([f"l{n}" for n in range(500)], state="x" * 5_000))
        config = uvicorn.Config(
            application(reader), http=Impatient, ws="none", log_config=None, limit_concurrency=6,
            timeout_graceful_shutdown=1, timeout_keep_alive=1,
        )  # fmt: skip
        async with Server(config).running() as server:
            yield server


@pytest.fixture
def address(server: Server) -> tuple[str, int]:
    return server.address


async def until_cut(reader: asyncio.StreamReader) -> None:
    """Raises TimeoutError if the server does not end it."""
    async with asyncio.timeout(60):
        with suppress(ConnectionResetError):
            while await reader.read(65_536):
                pass


@pytest.mark.parametrize(
    "sent",
    [b"", b"G", b"GET /users HTTP/1.1\r\nHost: localhost\r\nX-A: ", HEAD + b"Content-Length: 10\r\n\r\n{",
     HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", LIVE + b"GET /",
     LIVE + HEAD + b"Content-Length: 10\r\n\r\n{"],
    ids=["nothing", "a letter", "half a head", "half a body", "half a chunked body", "half of a second one",
         "a second one's half a body"],
)  # fmt: skip
async def test_who_does_not_ask_to_the_end_is_cut_off(address: tuple[str, int], sent: bytes) -> None:
    began = time.monotonic()
    reader, writer = await asyncio.open_connection(*address)
    writer.write(sent)
    await until_cut(reader)
    assert time.monotonic() - began > PATIENCE_S * 0.5, "it is waited for a while"
    writer.close()


async def test_a_byte_from_time_to_time_is_not_enough(address: tuple[str, int]) -> None:
    reader, writer = await asyncio.open_connection(*address)

    async def drip() -> None:
        for byte in itertools.cycle(HEAD):
            writer.write(bytes([byte]))
            await asyncio.sleep(PATIENCE_S / 10)

    dripping = asyncio.create_task(drip())
    await until_cut(reader)
    dripping.cancel()
    writer.close()


async def test_who_does_not_take_the_answer_is_cut_off(server: Server) -> None:
    with closing(socket.socket()) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, server.address)
        sock.send(b"GET /api/estate/leads?limit=500 HTTP/1.1\r\nHost: localhost\r\n\r\n" * 4)
        connections = server.server_state.connections
        await until(lambda: len(connections) == 1)
        await until(lambda: not connections)


async def test_slow_ones_do_not_take_all_connections_for_long(address: tuple[str, int]) -> None:
    slow: list[Any] = [await asyncio.open_connection(*address) for _ in range(6)]
    assert b"503" in await answer(address)
    await asyncio.gather(*(until_cut(reader) for reader, _ in slow))
    assert b'{"live":true}' in await answer(address)
    for _, writer in slow:
        writer.close()


async def answer(address: tuple[str, int]) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(LIVE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    try:
        return await asyncio.wait_for(reader.read(), 60)
    finally:
        writer.close()


async def test_many_requests_on_one_connection_are_all_answered(address: tuple[str, int]) -> None:
    """Also those that are sent before the ones before them are answered, and with pauses."""
    reader, writer = await asyncio.open_connection(*address)
    for _ in range(3):
        writer.write(LIVE * 20)
        await asyncio.sleep(PATIENCE_S * 0.4)
    found = b""
    while found.count(b'{"live":true}') < 60:
        found += await asyncio.wait_for(reader.read(65_536), 60)
    writer.close()
