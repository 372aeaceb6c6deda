"""The forms of the feed's messages: plain, Nest's envelope, Socket.IO; answers come in the form of the frame."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from loguru import logger

from adapters.brusnika import feed as feed_module
from adapters.brusnika.settings import Framing
from adapters.brusnika.twin.changes import BROKEN, Change, changes
from adapters.brusnika.twin.server import BrusnikaTwin
from schemas.errors import DeliveryDenied
from tests.support.systems.brusnika import KEY, Shell, cities, good, running
from tests.support.waiting import until

FORMS = [
    ("", Framing.AUTO, Framing.PLAIN),
    ("", Framing.PLAIN, Framing.PLAIN),
    ("nest", Framing.AUTO, Framing.NEST),
    ("nest", Framing.NEST, Framing.NEST),
    ("", Framing.SOCKETIO, Framing.SOCKETIO),
    ("socket.io/", Framing.AUTO, Framing.SOCKETIO),
    ("elsewhere", Framing.AUTO, Framing.SOCKETIO),
]


@pytest.mark.parametrize(("path", "wanted", "found"), FORMS)
async def test_all_frames_come_and_are_answered_in_their_form(path: str, wanted: Framing, found: Framing) -> None:
    shell, stream = Shell(), [c for c in changes(5, 400, faults=0.2, people=True) if c.fault != "not_utf8"]
    async with BrusnikaTwin(header_value=KEY, stream=lambda: iter(stream)) as twin:
        feed = shell.feed(twin.url + path, framing=wanted)
        broken = [c for c in stream if c.row is None]
        async with running(feed):
            await until(lambda: len(shell.rows) == len(good(stream)) and twin.status.errors == len(broken))
            assert feed.framing is found
    assert shell.rows == good(stream)
    assert {answer["in_nest"] for answer in twin.answers} == {found is Framing.NEST}
    assert len(shell.kept) == len(broken) > 5
    assert twin.status.connections == 1


async def test_socket_io_resumes_and_survives_cuts() -> None:
    shell = Shell()
    stream = cities(*range(1, 301))
    async with AsyncExitStack() as first:
        twin = await first.enter_async_context(BrusnikaTwin(header_value=KEY, stream=lambda: iter(stream)))
        feed = shell.feed(twin.url + "socket.io/")
        async with running(feed):
            await until(lambda: feed.stats.position == 300)
            port = twin.port
            await first.aclose()
            await until(lambda: not feed.stats.connected)
            stream += cities(301, 302)
            async with BrusnikaTwin(port=port, header_value=KEY, stream=lambda: iter(stream)) as again:
                await until(lambda: feed.stats.position == 302)
                assert again.status.sent == 2
    assert shell.rows == [c.row for c in stream]


async def test_socket_io_with_a_slow_sink_reads_no_further_than_it_may() -> None:
    shell = Shell()
    shell.delay = 0.05
    async with BrusnikaTwin(header_value=KEY, seed=2) as twin:  # without a limit
        feed = shell.feed(twin.url + "socket.io/")
        async with running(feed):
            await until(lambda: len(shell.rows) > 2_000)
            most = feed_module.IN_FLIGHT + 2_000  # the sockets of both sides hold some, too
            assert twin.status.sent - len(shell.rows) < most + 4_000


async def test_a_wrong_header_is_denied_over_socket_io() -> None:
    async with BrusnikaTwin(header_value=KEY) as twin:
        with pytest.raises(DeliveryDenied, match="Invalid custom header"):
            await asyncio.wait_for(Shell().feed(twin.url + "socket.io/", key="wrong").run(), 60)
        assert twin.status.refused == 1


async def test_binary_packets_are_refused_and_the_next_ones_taken() -> None:
    shell = Shell()
    stream = cities(1, 2)
    async with BrusnikaTwin(header_value=KEY, stream=lambda: iter(stream)) as twin:
        feed = shell.feed(twin.url + "socket.io/")
        async with running(feed):
            await until(lambda: len(shell.rows) == 2)
            await twin.door.send_binary(b"\0\xff")
            await until(lambda: twin.status.errors == 1)
            assert feed.stats.connected
    assert twin.answers[0]["meta"]["field"] == "data"


async def test_a_wrong_path_is_told_in_log_and_status() -> None:
    said: list[str] = []
    handler = logger.add(lambda line: said.append(str(line)), format="{level} {message}")
    try:
        async with BrusnikaTwin(header_value=KEY) as twin:
            feed = Shell().feed(twin.url + "feed?token=abc", framing="plain")
            async with running(feed):
                await until(lambda: feed.stats.problem != "")
    finally:
        logger.remove(handler)
    assert "no feed at /feed: HTTP 404. Check the path in KOUNTER_BRUSNIKA__URL" in feed.stats.problem
    assert any(line.startswith("ERROR") and feed.stats.problem in line for line in said)
    assert "token" not in "".join(said)


async def test_503_is_tried_again() -> None:
    shell = Shell()
    async with BrusnikaTwin(header_value=KEY, stream=lambda: iter(cities(1))) as twin:
        twin.faults.unavailable = True
        feed = shell.feed(twin.url)
        async with running(feed):
            await until(lambda: "503" in feed.stats.problem)
            twin.faults.unavailable = False
            await until(lambda: len(shell.rows) == 1)
            assert feed.stats.problem == ""


async def test_a_server_that_ignores_after_is_noticed_and_loses_nothing() -> None:
    shell, said = Shell(), list[str]()
    stream = cities(*range(1, 51))
    handler = logger.add(lambda line: said.append(str(line)), format="{message}")
    try:
        async with BrusnikaTwin(header_value=KEY, drop_every=40, stream=lambda: iter(stream)) as twin:
            twin.faults.ignores_after = True
            shell.position = 20
            feed = shell.feed(twin.url)
            async with running(feed):
                await until(lambda: feed.stats.resumes is False and feed.stats.sessions >= 3)
    finally:
        logger.remove(handler)
    assert len([line for line in said if "can't resume" in line]) == 1


async def test_missing_changes_are_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "AGAIN_QUIET_S", 0.05)
    monkeypatch.setattr(feed_module, "QUIET_S", 0.05)
    shell, stream = Shell(), cities(1, 2, 5, 6)
    async with BrusnikaTwin(header_value=KEY, stream=lambda: iter(stream)) as twin:
        feed = shell.feed(twin.url)
        async with running(feed):
            await until(lambda: twin.status.sent == 4)
            stream.insert(2, cities(3)[0])
            await until(lambda: feed.stats.position == 3)
            assert [(gap, asked) for gap, asked in feed.progress.missing()] == [((4, 4), True)]
            sessions = feed.stats.sessions
            await asyncio.sleep(0.2)
            assert feed.stats.sessions == sessions  # asked for once
    assert feed.stats.asked_again == 1


@pytest.mark.parametrize("name", sorted(BROKEN))
async def test_a_broken_frame_is_kept_once_before_the_position_passes_it(name: str) -> None:
    shell, first, last = Shell(), *cities(1, 3)
    stream = [first, Change(2, BROKEN[name](2), None, name), last]
    async with BrusnikaTwin(header_value=KEY, stream=lambda: iter([*stream, stream[1]])) as twin:
        feed = shell.feed(twin.url)
        async with running(feed):
            await until(lambda: twin.status.errors == 2)
            await until(lambda: len(shell.kept) >= 1)
    kept: list[Any] = shell.kept
    assert kept[0].size == len(stream[1].frame)
    if kept[0].bad.update_id == 2:
        assert len(kept) == 1
        assert feed.stats.position == 3
