"""The client of the feed against the twin: nothing lost, order kept, every bad frame answered, nothing stops it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from loguru import logger
from pydantic import SecretStr, ValidationError
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websocket

from adapters.brusnika import feed as client_module
from adapters.brusnika.feed import BACKOFF_MOST_S, BrusnikaFeed, backoff_s
from adapters.brusnika.frames import Trouble
from adapters.brusnika.position import Position
from adapters.brusnika.settings import BrusnikaSettings
from adapters.brusnika.twin.changes import BROKEN, Change, changes
from adapters.brusnika.twin.frames import data_frame
from adapters.brusnika.twin.server import BrusnikaTwin
from schemas.errors import BrokenSetup, DeliveryDenied, InvalidInput
from schemas.estate import City

KEY = "of-the-test"


class Shell:
    """What the shell gives to the feed: a sink and a place for the position."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.position: int | None = None
        self.saves: list[int] = []
        self.delay = 0.0
        self.check: Callable[[Any], None] = lambda row: None

    async def sink(self, row: Any) -> None:
        await asyncio.sleep(self.delay)
        self.check(row)
        self.rows.append(row)

    async def load(self) -> int | None:
        return self.position

    async def save(self, update_id: int) -> None:
        self.position = update_id
        self.saves.append(update_id)

    def feed(self, url: str, key: str = KEY, **more: Any) -> BrusnikaFeed:
        settings = BrusnikaSettings(url=url, header_value=SecretStr(key), **more)
        return BrusnikaFeed(settings, self.sink, self.load, self.save, backoff=lambda attempt: 0.01)

    def by_key(self) -> dict[str, list[Any]]:
        found = defaultdict(list)
        for row in self.rows:
            found[row[0]].append(row)
        return found


class Waits:
    """A back-off that only notes that it was asked."""

    def __init__(self) -> None:
        self.attempts: list[int] = []

    def __call__(self, attempt: int) -> float:
        self.attempts.append(attempt)
        return 0.01


@contextlib.asynccontextmanager
async def running(feed: BrusnikaFeed) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(feed.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(done: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not done():  # noqa: ASYNC110 - what is waited for is spread over client and twin
            await asyncio.sleep(0.01)


def cities(*numbers: int) -> list[Change]:
    rows = [City(f"city-{n}", n, name="Тюмень") for n in numbers]
    return [Change(row.update_id or 0, data_frame(row), row) for row in rows]


def good(stream: Iterable[Change]) -> list[Any]:
    return [c.row for c in stream if c.row is not None]


async def test_everything_comes_in_order_and_each_broken_frame_is_answered() -> None:
    shell, stream = Shell(), list(changes(5, 1_500, faults=0.2))
    async with BrusnikaTwin(header_value=KEY, stream=lambda: iter(stream)) as twin:
        feed = shell.feed(twin.url)
        broken = [c for c in stream if c.row is None]
        async with running(feed):
            await until(lambda: len(shell.rows) == len(good(stream)) and twin.status.errors == len(broken))
    assert Counter(shell.rows) == Counter(good(stream))
    expected: dict[str, list[Any]] = defaultdict(list)
    for row in good(stream):
        expected[row[0]].append(row)
    assert shell.by_key() == expected
    assert {c.fault for c in broken} == set(BROKEN)
    for answer in twin.answers:
        assert set(answer["labels"]) == {"en", "ru", "uz"}
        assert {"message", "field", "expected", "came"} <= set(answer["meta"])
    assert feed.stats.bad == len(broken)
    assert feed.stats.frames == len(stream)
    assert feed.stats.repeated >= sum(c.fault == "duplicate" for c in stream)


async def test_cuts_lose_nothing_and_keep_the_order() -> None:
    shell, stream = Shell(), list(changes(6, 2_000, faults=0.1))
    async with BrusnikaTwin(header_value=KEY, drop_every=250, stream=lambda: iter(stream)) as twin:
        feed = shell.feed(twin.url)
        async with running(feed):
            await until(lambda: set(good(stream)) <= set(shell.rows))
    assert feed.stats.sessions == twin.status.connections >= 8
    expected: dict[str, list[Any]] = defaultdict(list)
    for row in good(stream):
        expected[row[0]].append(row)
    for key, rows in shell.by_key().items():
        newest = 0
        told = []
        for row in rows:  # as the fold takes them
            if row.update_id > newest:
                newest = row.update_id
                told.append(row)
        assert told[-1] == max(expected[key], key=lambda row: row.update_id)


async def test_a_restart_goes_on_from_the_saved_position() -> None:
    shell = Shell()
    async with BrusnikaTwin(header_value=KEY, stream=lambda: iter(cities(*range(1, 101)))) as twin:
        async with running(shell.feed(twin.url)):
            await until(lambda: len(shell.rows) == 100)
        assert shell.position == 100
        shell.rows.clear()
        shell.position = 90
        async with running(shell.feed(twin.url + "?tenant=7")):
            await until(lambda: len(shell.rows) == 10)
    assert [row.update_id for row in shell.rows] == list(range(91, 101))


async def test_the_position_rises_only_after_the_sink_has_taken() -> None:
    shell = Shell()
    shell.delay = 3600
    async with BrusnikaTwin(header_value=KEY, stream=lambda: iter(cities(1, 2, 3))) as twin:
        feed = shell.feed(twin.url)
        async with running(feed):
            await until(lambda: feed.stats.frames == 3)
            await asyncio.sleep(0.05)
            assert feed.stats.position == 0
    assert shell.rows == []
    assert shell.position in (None, 0)


async def test_a_slow_sink_holds_the_server_back() -> None:
    shell = Shell()
    shell.delay = 0.2
    async with BrusnikaTwin(header_value=KEY, seed=2) as twin:  # without a limit
        feed = shell.feed(twin.url)
        async with running(feed):
            await until(lambda: len(shell.rows) > 100)
            assert feed.stats.frames - len(shell.rows) <= client_module.IN_FLIGHT + 100
    assert feed.stats.frames < 20_000


async def test_a_failing_sink_is_asked_again_and_nothing_is_lost() -> None:
    shell, failures = Shell(), iter([True] * 3)

    def check(row: Any) -> None:
        if row.update_id == 20 and next(failures, False):
            raise ConnectionError("kafka is down")

    shell.check = check
    async with BrusnikaTwin(header_value=KEY, stream=lambda: iter(cities(*range(1, 51)))) as twin:
        feed = shell.feed(twin.url)
        async with running(feed):
            await until(lambda: feed.stats.position == 50)
    assert {row.update_id for row in shell.rows} == set(range(1, 51))
    assert feed.stats.sessions == 4


async def test_a_row_that_the_sink_refuses_is_answered_and_passed_over() -> None:
    shell = Shell()

    def check(row: Any) -> None:
        if row.update_id == 2:
            raise InvalidInput("name", "at most 1 MB", "more")

    shell.check = check
    async with BrusnikaTwin(header_value=KEY, stream=lambda: iter(cities(1, 2, 3))) as twin:
        feed = shell.feed(twin.url)
        async with running(feed):
            await until(lambda: feed.stats.position == 3 and twin.status.errors == 1)
    assert twin.answers[0]["meta"]["update_id"] == 2
    assert [row.update_id for row in shell.rows] == [1, 3]


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


async def test_a_frame_of_50_mb_is_refused_and_the_feed_goes_on() -> None:
    shell = Shell()
    giant = data_frame(City("city-2", 2, name="x")).replace(b'"x"', b'"' + b"x" * 50_000_000 + b'"')
    first, _, last = cities(1, 2, 3)
    async with BrusnikaTwin(header_value=KEY, stream=lambda: iter([first, Change(2, giant, None), last])) as twin:
        feed = shell.feed(twin.url)
        async with running(feed):
            await until(lambda: len(shell.rows) == 2 and twin.status.errors == 1)
        assert feed.stats.sessions == 1
    assert twin.answers[0]["id"] == Trouble.TOO_LARGE.id
    assert twin.answers[0]["meta"]["came"] == str(len(giant))


async def test_a_frame_above_the_hard_limit_is_passed_over_after_the_socket_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "HARD_LIMIT", 10_000)
    shell, stream = Shell(), cities(1, 2, 3, 6, 7)
    stream[3] = Change(6, b"x" * 20_000, None)  # and 4 and 5 never were
    async with BrusnikaTwin(header_value=KEY, stream=lambda: iter(stream)) as twin:
        feed = shell.feed(twin.url, max_frame_bytes=1_000)
        async with running(feed):
            await until(lambda: len(shell.rows) == 4)
    assert [row.update_id for row in shell.rows] == [1, 2, 3, 7]
    assert feed.stats.oversized == 3


async def test_gaps_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.brusnika.position.LATEST_CHANGES", 10)
    shell = Shell()
    async with BrusnikaTwin(header_value=KEY, stream=lambda: iter(cities(1, 2, *range(5, 30)))) as twin:
        feed = shell.feed(twin.url)
        async with running(feed):
            await until(lambda: feed.stats.position == 29)
    assert feed.stats.missing == 2


async def test_the_feed_outlives_a_server_that_is_away_and_backs_off() -> None:
    shell, waits = Shell(), Waits()
    async with BrusnikaTwin() as gone:
        url, port = gone.url, gone.port
    feed = BrusnikaFeed(BrusnikaSettings(url=url), shell.sink, shell.load, shell.save, backoff=waits)
    async with running(feed):
        await until(lambda: len(waits.attempts) >= 4)
        assert waits.attempts[:4] == [1, 2, 3, 4]
        async with BrusnikaTwin(port=port, stream=lambda: iter(cities(1))):
            await until(lambda: shell.rows != [])


async def test_a_sink_that_takes_nothing_is_asked_ever_more_slowly() -> None:
    shell, waits = Shell(), Waits()

    def check(row: Any) -> None:
        raise ConnectionError("kafka is down")

    shell.check = check
    async with BrusnikaTwin(stream=lambda: iter(cities(1, 2))) as twin:
        feed = BrusnikaFeed(BrusnikaSettings(url=twin.url), shell.sink, shell.load, shell.save, backoff=waits)
        async with running(feed):
            await until(lambda: len(waits.attempts) >= 3)
    assert waits.attempts[:3] == [1, 2, 3]
    assert feed.stats.position == 0
    assert feed.stats.missing == 0


async def test_a_position_that_cannot_be_saved_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "SAVE_EVERY_S", 0.01)
    shell, tries = Shell(), iter([True, True])

    async def save(update_id: int) -> None:
        if next(tries, False):
            raise ConnectionError("kafka is down")
        await shell.save(update_id)

    async with BrusnikaTwin(stream=lambda: iter(cities(1, 2))) as twin:
        feed = BrusnikaFeed(BrusnikaSettings(url=twin.url), shell.sink, shell.load, save)
        async with running(feed):
            await until(lambda: shell.position == 2)
    assert shell.saves[0] == 2


def test_the_back_off_grows_to_its_cap_and_is_spread() -> None:
    assert max(backoff_s(0) for _ in range(50)) <= 0.2
    assert all(BACKOFF_MOST_S / 2 <= backoff_s(n) <= BACKOFF_MOST_S for n in (10, 1_000, 10**9))
    assert len({backoff_s(5) for _ in range(10)}) > 1


async def test_an_error_in_mid_stream_does_not_stop_the_feed() -> None:
    shell = Shell()
    busy = Change(2, b'{"data":null,"error":{"id":503,"labels":{"en":"Busy\\nforged log line"},"meta":{}}}', None)
    first, last = cities(1, 3)
    lines: list[str] = []
    handler = logger.add(lines.append, format="{message}")
    try:
        twin = BrusnikaTwin(header_value=KEY, stream=lambda: iter([first, busy, last]))
        async with twin, running(shell.feed(twin.url)):
            await until(lambda: len(shell.rows) == 2)
    finally:
        logger.remove(handler)
    assert not any(line.startswith("forged") for line in "".join(lines).splitlines())
    assert KEY not in "".join(lines)


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


async def test_the_twin_tells_its_status_and_keeps_its_pace() -> None:
    shell = Shell()
    async with BrusnikaTwin(seed=1, rate=200, limit=100, header_value=KEY) as twin:
        begun = asyncio.get_running_loop().time()
        async with running(shell.feed(twin.url)):
            await until(lambda: twin.status.done)
            assert 0.4 < asyncio.get_running_loop().time() - begun < 2
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{twin.port}", trust_env=False) as http:
                status = (await http.get("/status")).json()
                assert (await http.get("/else")).status_code == 404
            assert status["sent"] == 100
            assert status["clients"] == 1


async def test_the_twin_as_a_process_ends_on_a_signal() -> None:
    code = "from adapters.brusnika.twin.server import serve; serve('127.0.0.1', 0, 1, 10.0, None, 'k')"
    twin = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=asyncio.subprocess.PIPE)
    assert twin.stderr is not None
    shell = Shell()
    try:
        line = (await asyncio.wait_for(twin.stderr.readline(), 60)).decode()
        async with running(shell.feed(line.split()[-1], key="k")):
            await until(lambda: len(shell.rows) > 1)
            twin.terminate()
            assert await asyncio.wait_for(twin.wait(), 60) == 0
    finally:
        if twin.returncode is None:
            twin.kill()
        await twin.communicate()


class Server:
    """A feed that closes each connection after a while; ``known`` may grow meanwhile. ``most``: frames of one."""

    def __init__(self, known: list[tuple[str, int, str]], most: int = 10**9) -> None:
        self.known, self.most = known, most
        self.asked: list[int] = []

    async def __call__(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        after = int(parse_qs(urlsplit(socket.request.path).query).get("after", ["0"])[0])
        self.asked.append(after)
        for word, number, ext_id in [one for one in self.known if one[1] > after][: self.most]:
            data = {"update_id": number, "ext_id": ext_id, "name": "n"}
            await socket.send(json.dumps({"data": {"type": word, "data": data}, "error": None}))
        await asyncio.sleep(0.05)
        await socket.close(1001, "idle")


@contextlib.asynccontextmanager
async def serving(server: Any) -> AsyncIterator[str]:
    async with serve_websocket(server, "127.0.0.1", 0) as listening:
        yield f"ws://127.0.0.1:{next(iter(listening.sockets)).getsockname()[1]}"


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ([("city", n, f"c{n}") for n in range(1, 26)] + [("city", 1_764_000_000_000, "odd")], ("city", 26, "c26")),
        ([("section", 9_000_000_000, "s")] + [("city", n, f"c{n}") for n in range(1, 6)], ("city", 6, "c6")),
        ([("section", 9_000_000_000, "s")], ("city", 1, "c1")),
        ([("city", 1, "c1"), ("spaceship", 7_000_000, "x")], ("city", 2, "c2")),
        ([("city", n, f"c{n}") for n in range(1, 51)] + [("section", 1, "s1")], ("section", 2, "s2")),
        ([("city", 1, "c1"), ("city", 3, "c3")], ("city", 2, "c2")),
    ],
)
async def test_after_quiet_connections_the_feed_still_asks_for_what_comes_later(
    first: list[tuple[str, int, str]], later: tuple[str, int, str]
) -> None:
    shell, server = Shell(), Server(list(first))
    async with serving(server) as url:
        feed = shell.feed(url)
        async with running(feed):
            await until(lambda: feed.stats.sessions >= 4)
            server.known.append(later)
            await until(lambda: later[2] in {row.ext_id for row in shell.rows}, 10)
    async with serving(server) as url:  # nor does a restart from the saved position leave anything out
        server.known.append((later[0], later[1] + 10, "last"))
        async with running(shell.feed(url)):
            await until(lambda: "last" in {row.ext_id for row in shell.rows}, 10)


async def test_short_connections_reach_what_stands_behind_holes_and_far_numbers() -> None:
    known = [("city", n, f"c{n}") for n in range(1, 40) if n not in (5, 6)]
    known += [("section", n, f"s{n}") for n in range(10**9, 10**9 + 40)]
    shell = Shell()
    async with serving(Server(known, most=10)) as url, running(shell.feed(url)):
        await until(lambda: {row.ext_id for row in shell.rows} == {one[2] for one in known}, 30)


async def test_a_counter_that_began_anew_is_told_once_a_connection_and_not_as_duplicates() -> None:
    shell, said = Shell(), []
    shell.position = 1_000

    async def anew(socket: ServerConnection) -> None:
        for n in range(1, 6):
            await socket.send(data_frame(City(f"city-{n}", n, name="restored")))
        await asyncio.sleep(0.3)

    handler = logger.add(lambda line: said.append(str(line)), level="WARNING", format="{message}")
    try:
        async with serving(anew) as url:
            feed = shell.feed(url)
            async with running(feed):
                await until(lambda: len(shell.rows) == 5)
    finally:
        logger.remove(handler)
    told = [line for line in said if "kounter feed reset" in line]
    assert len(told) == 1
    assert "1000" in told[0]
    assert (feed.stats.below, feed.stats.repeated, feed.stats.position) == (5, 0, 1_000)


async def test_a_reset_is_taken_with_the_next_connection_and_its_numbers_go_on_above() -> None:
    shell = Shell()
    async with BrusnikaTwin(header_value=KEY, drop_every=3, stream=lambda: iter(cities(1, 2, 3))) as twin:
        feed = shell.feed(twin.url)
        async with running(feed):
            await until(lambda: feed.stats.position == 3)
            shell.rows.clear()
            shell.position = Position(0, reset="r1", above=5_000)
            await until(lambda: len(shell.rows) >= 3)
            assert [row.update_id for row in shell.rows[:3]] == [5_001, 5_002, 5_003]
            await until(lambda: feed.stats.position == 3)
    assert shell.position == 3
    assert (Position.of(shell.position).reset, Position.of(shell.position).above) == ("r1", 5_000)


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
