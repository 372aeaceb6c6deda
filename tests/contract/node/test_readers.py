"""Clients that others have made read the main backend's log: `ws` and `socket.io-client`, cut and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapters.backend import server as backend_server
from tests.support.backend import KEY, served
from tests.support.systems.node import Node

pytestmark = [
    pytest.mark.usefixtures("forgotten_connections"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]
PATHS = {"plain": "/", "nest": "/nest", "io-websocket": "", "io-polling": ""}
DENIED = "Client connection denied!"


@pytest.fixture(autouse=True)
def quick_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that ends waits for polls under way."""
    monkeypatch.setattr(backend_server, "GRACE_S", 0.1)


@pytest.mark.parametrize("kind", PATHS)
async def test_all_changes_come_once_and_in_order_through_cuts_and_a_restart(
    tmp_path: Path, node: Node, kind: str
) -> None:
    async with served(tmp_path, count=600) as server:
        port, url = server.port, f"{server.url}{PATHS[kind]}"
        await node.ask("startReader", name=kind, kind=kind, url=url, key=KEY, cutEvery=170)
        await node.ask("reachInReader", name=kind, count=600)
        server.append(5)
        await node.ask("reachInReader", name=kind, count=605)
    async with served(tmp_path, count=400, port=port):
        await node.ask("reachInReader", name=kind, count=1_005)
        found = await node.ask("endReader", name=kind)
    assert found["numbers"] == list(range(1, 1_006))
    assert found["connections"] >= 1 + 1_005 // 170 + 1  # the first, one after each cut, one after the restart
    assert found["refused"] is None


@pytest.mark.parametrize("kind", PATHS)
async def test_a_client_goes_on_behind_its_number(tmp_path: Path, node: Node, kind: str) -> None:
    async with served(tmp_path, count=20) as server:
        await node.ask("startReader", name=kind, kind=kind, url=f"{server.url}{PATHS[kind]}", key=KEY, after=17)
        await node.ask("reachInReader", name=kind, count=3)
        found = await node.ask("endReader", name=kind)
    assert found["numbers"] == [18, 19, 20]


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize(("key", "after", "id"), [("wrong", 0, 400), (KEY, 21, 4006), (KEY, -1, 4006)])
async def test_who_is_refused_gets_the_error_frame(
    tmp_path: Path, node: Node, kind: str, key: str, after: int, id: int
) -> None:
    async with served(tmp_path, count=20) as server:
        await node.ask("startReader", name=kind, kind=kind, url=f"{server.url}{PATHS[kind]}", key=key, after=after)
        await node.ask("reachInReader", name=kind, count=1)
        found = await node.ask("endReader", name=kind)
    refused: dict[str, Any] = found["refused"]
    error = refused["frame"]["error"]
    assert (found["numbers"], refused["frame"]["data"], error["id"]) == ([], None, id)
    message = error["meta"]["message"]
    assert refused["code"] == (message if kind.startswith("io") else 1008)
    if id == 400:
        assert error["labels"] == {"en": DENIED, "ru": DENIED, "uz": DENIED}
        assert message == "Invalid custom header"
