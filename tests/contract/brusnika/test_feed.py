"""The feed against the twin: nothing lost, order kept, every bad frame answered, nothing stops it."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pytest
from loguru import logger

from adapters.brusnika import feed as client_module
from adapters.brusnika.feed import BACKOFF_MOST_S, BrusnikaFeed, backoff_s
from adapters.brusnika.settings import BrusnikaSettings
from adapters.brusnika.twin.changes import BROKEN, Change, changes
from adapters.brusnika.twin.frames import data_frame
from adapters.brusnika.twin.server import BrusnikaTwin
from schemas.error_frame import Trouble
from schemas.errors import InvalidInput
from schemas.estate import City
from tests.support.systems.brusnika import KEY, Shell, Waits, cities, good, running
from tests.support.waiting import until


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


async def test_the_feed_outlives_a_server_that_is_away_and_backs_off() -> None:
    shell, waits = Shell(), Waits()
    async with BrusnikaTwin() as gone:
        url, port = gone.url, gone.port
    feed = BrusnikaFeed(BrusnikaSettings(url=url), shell.sink, shell.keep, shell.load, shell.save, backoff=waits)
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
        feed = BrusnikaFeed(
            BrusnikaSettings(url=twin.url), shell.sink, shell.keep, shell.load, shell.save, backoff=waits
        )
        async with running(feed):
            await until(lambda: len(waits.attempts) >= 3)
    assert waits.attempts[:3] == [1, 2, 3]
    assert feed.stats.position == 0
    assert feed.stats.missing == 0


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
