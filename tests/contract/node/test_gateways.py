"""Gateways of real NestJS 10 feed us: WsAdapter in Nest's envelope, IoAdapter by Socket.IO."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from adapters.brusnika.settings import Framing
from adapters.brusnika.twin.changes import Change, changes
from schemas.errors import DeliveryDenied
from tests.support.systems.brusnika import KEY, Shell, cities, good, running
from tests.support.systems.node import Node
from tests.support.waiting import until

KINDS = {"ws": Framing.NEST, "io": Framing.SOCKETIO}


class Gateway:
    """A NestJS application on a port of its own."""

    def __init__(self, node: Node, port: int) -> None:
        self._node, self.port = node, port

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"

    async def state(self, holds: Callable[[Any], object] = lambda found: True) -> Any:
        """Returns what its clients did, as soon as it ``holds``."""
        return await self._node.ask_until(holds, "stateOfGateway", port=self.port)

    async def push(self, stream: Iterable[Change]) -> None:
        await self._node.ask("pushToGateway", port=self.port, stream=_said(stream))


@asynccontextmanager
async def gateway(node: Node, kind: str, stream: Iterable[Change], **options: Any) -> AsyncIterator[Gateway]:
    port = await node.ask("openGateway", kind=kind, key=KEY, stream=_said(stream), **options)
    try:
        yield Gateway(node, port)
    finally:
        await node.ask("closeGateway", port=port)


def _said(stream: Iterable[Change]) -> list[tuple[int, str]]:
    return [(change.update_id, change.frame.decode()) for change in stream]


def _is_json(frame: bytes) -> bool:
    """Whether JavaScript can have made it."""
    try:
        json.loads(frame, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(word: str) -> None:
    raise ValueError(word)


@pytest.mark.parametrize("kind", KINDS)
async def test_all_frames_come_and_bad_ones_are_answered(node: Node, kind: str) -> None:
    stream = [c for c in changes(5, 400, faults=0.2, people=True) if _is_json(c.frame)]
    bad = [c for c in stream if c.row is None]
    shell = Shell()
    async with gateway(node, kind, stream) as company:
        feed = shell.feed(company.url)
        async with running(feed):
            await until(lambda: len(shell.rows) == len(good(stream)))
            state = await company.state(lambda found: len(found["answers"]) >= len(bad))
            assert feed.framing is KINDS[kind]
    assert shell.rows == good(stream)
    assert len(shell.kept) == len(bad) > 5
    assert state["asked"] == [None]
    assert {answer["data"] for answer in state["answers"]} == {None}
    assert all(answer["error"]["meta"]["field"] for answer in state["answers"])


@pytest.mark.parametrize("kind", KINDS)
async def test_cuts_and_a_restart_lose_nothing(node: Node, kind: str) -> None:
    shell, stream = Shell(), cities(*range(1, 601))
    async with gateway(node, kind, stream, cutEvery=130) as company:
        feed = shell.feed(company.url)
        async with running(feed):
            await until(lambda: feed.stats.position == 600)
            asked = (await company.state())["asked"]
            await company.push(more := cities(601, 602))
            await until(lambda: feed.stats.position == 602)
    assert asked == [None, 130, 260, 390, 520]
    async with gateway(node, kind, stream + more, port=company.port) as company, running(shell.feed(company.url)):
        await company.push(last := cities(603))
        await until(lambda: len(shell.rows) == 603)
        assert (await company.state())["asked"] == [602]
    assert shell.rows == good([*stream, *more, *last])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_wrong_header_is_denied(node: Node, kind: str) -> None:
    async with gateway(node, kind, cities(1)) as company:
        with pytest.raises(DeliveryDenied, match="Invalid custom header"):
            await asyncio.wait_for(Shell().feed(company.url, key="wrong").run(), 60)
        assert (await company.state())["refused"] == 1


@pytest.mark.parametrize(("kind", "framing"), [("ws", "auto"), ("ws", "plain"), ("io", "plain"), ("io", "socketio")])
async def test_a_wrong_path_is_named(node: Node, kind: str, framing: str) -> None:
    """Nest closes the connection without an HTTP answer."""
    async with gateway(node, kind, cities(1)) as company:
        feed = Shell().feed(company.url + "feed", framing=framing)
        async with running(feed):
            await until(lambda: feed.stats.problem)
    assert " at /feed" in feed.stats.problem


async def test_socket_io_is_found_though_the_path_is_that_of_a_web_socket(node: Node) -> None:
    shell = Shell()
    async with gateway(node, "io", cities(1)) as company:
        feed = shell.feed(company.url + "feed")
        async with running(feed):
            await until(lambda: shell.rows)
        assert feed.framing is Framing.SOCKETIO
