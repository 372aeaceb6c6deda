"""Where the feed goes on: behind holes, far numbers, quiet connections and a counter that began anew."""

from __future__ import annotations

import asyncio

import pytest
from loguru import logger
from websockets.asyncio.server import ServerConnection

from adapters.brusnika import feed as client_module
from adapters.brusnika.feed import BrusnikaFeed
from adapters.brusnika.position import Position
from adapters.brusnika.settings import BrusnikaSettings
from adapters.brusnika.twin.changes import Change
from adapters.brusnika.twin.frames import data_frame
from adapters.brusnika.twin.server import BrusnikaTwin
from schemas.bookings import ReportVisit
from schemas.estate import City
from tests.support.systems.brusnika import KEY, Server, Shell, cities, running, serving
from tests.support.waiting import until


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


async def test_gaps_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.brusnika.position.LATEST_CHANGES", 10)
    shell = Shell()
    async with BrusnikaTwin(header_value=KEY, stream=lambda: iter(cities(1, 2, *range(5, 30)))) as twin:
        feed = shell.feed(twin.url)
        async with running(feed):
            await until(lambda: feed.stats.position == 29)
    assert feed.stats.missing == 2


async def test_a_position_that_cannot_be_saved_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "SAVE_EVERY_S", 0.01)
    shell, tries = Shell(), iter([True, True])

    async def save(update_id: int) -> None:
        if next(tries, False):
            raise ConnectionError("kafka is down")
        await shell.save(update_id)

    async with BrusnikaTwin(stream=lambda: iter(cities(1, 2))) as twin:
        feed = BrusnikaFeed(BrusnikaSettings(url=twin.url), shell.sink, shell.keep, shell.load, save)
        async with running(feed):
            await until(lambda: shell.position == 2)
    assert shell.saves[0] == 2


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


async def test_the_number_of_a_reported_thing_counts_as_any_other() -> None:
    """It stands in another field: the thing's own number is the lane's."""
    rows = [City("c", 1), ReportVisit("v", source_update_id=2), ReportVisit("v", source_update_id=3)]
    changes = [Change(number, data_frame(row), row) for number, row in enumerate(rows, start=1)]
    shell = Shell()
    shell.position = Position(0, reset="r1", above=5_000)
    async with BrusnikaTwin(header_value=KEY, stream=lambda: iter(changes)) as twin:
        feed = shell.feed(twin.url)
        async with running(feed):
            await until(lambda: len(shell.rows) == 3)
            assert shell.rows == [City("c", 5_001), *(ReportVisit("v", source_update_id=n) for n in (5_002, 5_003))]
            await until(lambda: feed.stats.position == 3)
