"""Feed files into a real Kafka: only differences become records, a refused file changes nothing, a crash repeats."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from adapters.feeds import reading, writer
from adapters.feeds.check import accept, check
from adapters.feeds.comparison import Difference
from adapters.feeds.settings import FeedFile, FeedsSettings
from adapters.feeds.source import FeedFiles
from adapters.feeds.state import RETIRED_MICROS, TOPICS, FeedState, FeedStates, alarms
from adapters.feeds.twin.faults import Fault
from adapters.feeds.twin.server import FeedsTwin
from adapters.feeds.writer import source_of
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.codec.settings import RegistrySettings
from schemas.errors import InvalidInput
from schemas.estate import Building, City, Premise, Project, Section
from schemas.record import contract
from streams.domains import DOMAINS
from streams.kafka.reader import TopicReader
from streams.kafka.settings import KafkaSettings
from streams.kafka.topics import ensure_topics
from streams.topology import topics_of
from tests.support.waiting import PATIENCE_S, until

pytestmark = pytest.mark.integration
KINDS = (City, Project, Building, Section, Premise)


class Desk:
    """A source in a Kafka, and what it wrote there for a feed of a name of its own."""

    def __init__(self, kafka: KafkaSettings, serde: Serde, states: FeedStates) -> None:
        self.kafka, self.serde, self.states = kafka, serde, states
        self.clock = itertools.count(1_000_000, 1_000_000)

    def feed(self, url: str, **more: Any) -> FeedFile:
        name = f"t-{secrets.token_hex(4)}"
        return FeedFile(name=name, url=url, id_prefix=f"{name}:", **more)  # type: ignore[arg-type]

    def source(self, *feeds: FeedFile) -> FeedFiles:
        return FeedFiles(FeedsSettings(sources=feeds), self.kafka, self.serde, now=lambda: next(self.clock))

    async def read(self, feed: FeedFile) -> FeedState:
        return await self.source(feed).read_once(feed, self.states)

    async def state(self, feed: FeedFile) -> FeedState:
        return (await self.states.load())[0].get(feed.name, FeedState())

    async def rows(self, feed: FeedFile) -> dict[type, list[Any]]:
        found: dict[type, list[Any]] = {kind: [] for kind in KINDS}
        async with TopicReader(self.kafka) as topics:
            for kind in KINDS:
                topic = contract(kind).topics[0]
                async for record in topics.read(topic):
                    if dict(record.headers).get("ce_source") == source_of(feed.name).encode():
                        found[kind].append(await self.serde.decode(topic, record.value))
        return found


@pytest.fixture
async def desk(stack: Any) -> AsyncIterator[Desk]:
    kafka = KafkaSettings(bootstrap_servers=stack.bootstrap_servers)
    async with SchemaRegistry(RegistrySettings(url=stack.registry_url)) as registry, FeedStates(kafka) as states:
        serde = Serde(registry)
        await ensure_topics(kafka, [*topics_of(DOMAINS.values()), *TOPICS])
        await serde.prepare([contract(kind).topics[0] for kind in KINDS])
        yield Desk(kafka, serde, states)


@pytest.fixture
async def twin() -> AsyncIterator[FeedsTwin]:
    async with FeedsTwin(flats=100) as running:
        yield running


def folded(rows: list[Any]) -> dict[str, dict[str, Any]]:
    states: dict[str, dict[str, Any]] = {}
    for row in rows:
        said = {name: value for name, value in row._asdict().items() if value is not None and name != "unset"}
        state = {**states.get(row[0], {}), **said}
        states[row[0]] = {name: value for name, value in state.items() if name not in row.unset}
    return states


async def test_only_differences_become_records(desk: Desk, twin: FeedsTwin) -> None:
    feed = desk.feed(twin.url("yandex"))
    assert (await desk.read(feed)).counts["new"] == 100
    rows = await desk.rows(feed)
    assert [len(rows[kind]) for kind in KINDS] == [1, 3, 9, 18, 100]
    bodies = twin.app.control.bodies
    state = await desk.read(feed)
    assert (twin.app.control.bodies, state.good_at) == (bodies, state.checked_at)
    for _ in range(6):
        twin.developer.tick()
        state = await desk.read(feed)
        before, rows = rows, await desk.rows(feed)
        counts = state.counts
        assert len(rows[Premise]) - len(before[Premise]) == sum(
            counts[name] for name in ("new", "changed", "returned", "gone")
        )
    assert [len(rows[kind]) for kind in KINDS[:4]] == [1, 3, 9, 18]
    assert all(row.update_id is None for kind in KINDS for row in rows[kind])
    listed = {f"{feed.id_prefix}{flat.id}": flat.price for flat in twin.developer.flats}
    for key, premise in folded(rows[Premise]).items():
        assert ("gone_since" in premise) == (key not in listed)
        assert premise["status"] == ("FREE" if key in listed else "TAKEN")
        assert "is_sold" not in premise
        assert premise["price"] == listed.get(key, premise["price"])


async def test_a_refused_file_changes_nothing_until_it_is_accepted(desk: Desk, twin: FeedsTwin) -> None:
    feed = desk.feed(twin.url("cian"))
    await desk.read(feed)
    before = await desk.rows(feed)
    with pytest.raises(InvalidInput):
        await accept(desk.kafka, feed.name, next(desk.clock))
    twin.faults.plan(Fault(kind="empty"))
    state = await desk.read(feed)
    assert [reason for reason, _ in state.refused] == ["empty", "shrunk"]
    assert (await desk.read(feed)).refused == state.refused
    assert await desk.rows(feed) == before
    now = next(desk.clock)
    (alarm,) = [said for said in await alarms(desk.kafka, now) if feed.name in said]
    assert "refused: the file has no offers" in alarm
    assert not [said for said in await alarms(desk.kafka, now + RETIRED_MICROS) if feed.name in said]
    assert state.good_at is not None
    assert state.good_at < (state.checked_at or 0)
    assert await accept(desk.kafka, feed.name, next(desk.clock)) == [said for _, said in state.refused]
    state = await desk.read(feed)
    assert (state.refused, state.counts["gone"]) == ([], 100)
    gone = (await desk.rows(feed))[Premise][100:]
    assert {(row.status, row.gone_since) for row in gone} == {("TAKEN", state.checked_at)}
    twin.faults.plan()
    assert (await desk.read(feed)).counts["returned"] == 100
    assert {row.unset for row in (await desk.rows(feed))[Premise][200:]} == {("gone_since",)}
    twin.faults.plan(Fault(kind="empty"))
    assert (await desk.read(feed)).refused  # an acceptance is for one file


async def test_a_feed_that_can_not_be_had_keeps_its_last_good_time(desk: Desk, twin: FeedsTwin) -> None:
    feed = desk.feed(twin.url("avito"))
    good = (await desk.read(feed)).good_at
    for kind in ("unavailable", "not_json", "truncated"):
        twin.faults.plan(Fault(kind=kind))
        state = await desk.read(feed)
        assert state.error
        assert state.good_at == good
    twin.faults.plan()
    state = await desk.read(feed)
    assert (state.error, state.good_at) == ("", state.checked_at)
    bodies = twin.app.control.bodies
    await desk.read(feed)
    assert twin.app.control.bodies == bodies
    await desk.read(feed.model_copy(update={"shrink_limit": 0.5}))
    assert twin.app.control.bodies == bodies + 1  # with other settings it is read again
    assert len((await desk.rows(feed))[Premise]) == 100


async def test_a_repeat_after_a_crash_folds_to_nothing(
    desk: Desk, twin: FeedsTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = desk.feed(twin.url("yandex"))
    await desk.read(feed)
    twin.developer.tick()

    def cut(differences: Iterator[Difference]) -> Iterator[Difference]:
        yield from itertools.islice(differences, 4)
        raise KafkaError("the process ends here")

    async def crashing(kafka: Any, serde: Any, name: str, differences: Any, at: int) -> int:
        return await writer.write(kafka, serde, name, cut(differences), at)

    monkeypatch.setattr(reading, "write", crashing)
    with pytest.raises(KafkaError):
        await desk.read(feed)
    monkeypatch.setattr(reading, "write", writer.write)
    state = await desk.read(feed)
    assert state.good_at == state.checked_at
    rows = (await desk.rows(feed))[Premise]
    gone = {row.gone_since for row in rows if row.gone_since is not None}
    assert gone == {state.pending_at}
    assert (await desk.read(feed)).counts == state.counts
    listed = {f"{feed.id_prefix}{flat.id}" for flat in twin.developer.flats}
    assert {key for key, premise in folded(rows).items() if premise["status"] == "FREE"} == listed


async def test_a_check_writes_nothing(desk: Desk, twin: FeedsTwin) -> None:
    feed = desk.feed(twin.url("yandex"))
    assert (await check(feed, desk.kafka)).counts.new == 100
    assert await desk.state(feed) == FeedState()
    await desk.read(feed)
    twin.developer.tick()
    checked = await check(feed, desk.kafka)
    assert (checked.counts.changed, checked.counts.gone, checked.doubts) == (2, 2, [])
    assert len((await desk.rows(feed))[Premise]) == 100


async def test_one_bad_feed_stops_no_other(desk: Desk, twin: FeedsTwin, tmp_path: Path) -> None:
    broken = tmp_path / "broken.xml"
    broken.write_text("<feed><object></feed>")
    feeds = [desk.feed(url, every_s=1) for url in (twin.url("slow"), twin.url("down"), str(broken), twin.url("cian"))]
    source = desk.source(*feeds)
    running = asyncio.create_task(source.run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (await desk.state(feeds[3])).good_at:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        twin.developer.tick()
        async with asyncio.timeout(PATIENCE_S):
            while len((await desk.rows(feeds[3]))[Premise]) < 104:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert "503" in (await desk.state(feeds[1])).error
        assert "XML" in (await desk.state(feeds[2])).error
    finally:
        source.stop()
        async with asyncio.timeout(PATIENCE_S):
            await running


async def test_a_source_without_feeds_is_ready(desk: Desk) -> None:
    source = desk.source()
    running = asyncio.create_task(source.run())
    await until(source.ready.is_set)
    source.stop()
    await running
