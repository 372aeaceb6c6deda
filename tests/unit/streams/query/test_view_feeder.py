"""What a view's feed says of itself while it reads nothing."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaError
from loguru import logger

from streams.kafka.settings import KafkaSettings
from streams.query.view_feeder import ViewFeeder


async def test_a_feed_that_reads_nothing_is_not_said_to_be_caught_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway was ready with a view that nobody fed."""
    view: Any = None
    feeder = ViewFeeder(KafkaSettings(), [], view)
    feeder.behind, feeder.caught_up = 0, True
    tried = asyncio.Event()

    class Away:
        """Brokers that do not answer."""

        def __init__(self, **options: Any) -> None:
            pass

        async def start(self) -> None:
            raise KafkaError("no brokers")

        async def stop(self) -> None:
            tried.set()

    monkeypatch.setattr("streams.kafka.consumer.AIOKafkaConsumer", Away)
    running = asyncio.create_task(feeder.run())
    await tried.wait()
    assert (feeder.behind, feeder.caught_up) == (None, False)
    running.cancel()


async def test_a_state_that_cant_be_read_holds_up_no_other() -> None:
    """Somebody else's bytes on a changelog ended the gateway, again after each start."""
    applied: list[Any] = []
    layout = SimpleNamespace(load=int)
    view: Any = SimpleNamespace(layouts={"x.y": layout}, apply=lambda changes, offsets: applied.extend(changes))
    feeder = ViewFeeder(KafkaSettings(), [], view)
    records = [
        SimpleNamespace(topic="c", partition=0, offset=n, key=b"x.y\0%d" % n, value=value)
        for n, value in enumerate((b"1", b"junk", None, b"4"))
    ]
    await feeder._apply({None: records}, {})
    assert [(change.ext_id, change.state) for change in applied] == [("0", 1), ("2", None), ("3", 4)]


@pytest.mark.parametrize(("known", "gone"), [(None, 40), (10, 30), (40, 0), (60, 0)])
async def test_states_that_were_deleted_before_the_view_had_them(
    known: int | None, gone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = asyncio.Event()

    class Shortened:
        """A changelog from 40 to 100."""

        def __init__(self, **options: Any) -> None: ...
        async def start(self) -> None: ...
        async def stop(self) -> None: ...
        def assign(self, tps: Any) -> None: ...
        def seek(self, tp: Any, at: int) -> None: ...

        async def beginning_offsets(self, tps: Any) -> dict[Any, int]:
            return dict.fromkeys(tps, 40)

        async def end_offsets(self, tps: Any) -> dict[Any, int]:
            return dict.fromkeys(tps, 100)

        async def getmany(self, **how: Any) -> Any:
            reading.set()
            await asyncio.sleep(60)

    async def same(self: ViewFeeder) -> None: ...

    monkeypatch.setattr("streams.kafka.consumer.AIOKafkaConsumer", Shortened)
    monkeypatch.setattr(ViewFeeder, "_check_cluster", same)
    offsets = {} if known is None else {("c", 0): known}
    view: Any = SimpleNamespace(offsets=lambda: offsets)
    domain: Any = SimpleNamespace(changelog="c")
    feeder = ViewFeeder(KafkaSettings(partitions=1), [domain], view)
    said: list[str] = []
    sink = logger.add(lambda message: said.append(str(message)), level="ERROR")
    running = asyncio.create_task(feeder.run())
    await reading.wait()
    running.cancel()
    logger.remove(sink)
    assert feeder.deleted == gone
    assert bool(said) is bool(gone)


class Rows:
    """A view of one aggregate in memory; a state is a plain dict."""

    def __init__(self) -> None:
        self.layouts = {"x.y": SimpleNamespace(load=lambda value: {"version": int(value)})}
        self.rows: dict[str, Any] = {}
        self.asked = 0

    def get(self, aggregate: str, ext_id: str) -> Any:
        self.asked += 1
        return self.rows.get(ext_id)

    def document(self, aggregate: str, state: Any) -> Any:
        return state

    def apply(self, changes: Any, offsets: Any) -> None:
        self.rows |= {change.ext_id: change.state for change in changes}


@pytest.fixture
def feed() -> tuple[ViewFeeder, Rows]:
    rows: Any = Rows()
    return ViewFeeder(KafkaSettings(), [], rows), rows


async def changed(feeder: ViewFeeder, *versions: int | None, key: bytes = b"k") -> None:
    """A batch of states of one key."""
    values = [None if version is None else b"%d" % version for version in versions]
    records = [SimpleNamespace(topic="c", partition=0, offset=0, key=b"x.y\0" + key, value=value) for value in values]
    await feeder._apply({None: records}, {})


async def test_what_holds_already_is_not_waited_for(feed: tuple[ViewFeeder, Rows]) -> None:
    feeder, _ = feed
    assert await feeder.wait_until("x.y", "k", lambda found: found is None, 1) is None
    await changed(feeder, 3)
    assert await feeder.wait_until("x.y", "k", lambda found: found is not None, 1) == {"version": 3}
    assert feeder._waiting == {}


async def test_who_waits_is_woken_by_the_change_that_fits_and_asks_nothing_meanwhile(
    feed: tuple[ViewFeeder, Rows],
) -> None:
    feeder, rows = feed
    wanted = [lambda found: bool(found) and found["version"] >= 5, lambda found: bool(found) and found["version"] == 2]
    waiting = [asyncio.create_task(feeder.wait_until("x.y", "k", holds, 30)) for holds in wanted]
    await asyncio.sleep(0.05)
    await changed(feeder, 2, 3)  # the view has never had the second
    await changed(feeder, 9, key=b"other")
    await changed(feeder, 4)
    await asyncio.sleep(0)
    assert [task.done() for task in waiting] == [False, False]
    await changed(feeder, 5)
    assert await waiting[0] == {"version": 5}
    await changed(feeder, 2)
    assert await waiting[1] == {"version": 2}
    assert (rows.asked, feeder._waiting) == (2, {})


async def test_a_deletion_wakes_too(feed: tuple[ViewFeeder, Rows]) -> None:
    feeder, _ = feed
    await changed(feeder, 1)
    waiting = asyncio.create_task(feeder.wait_until("x.y", "k", lambda found: found is None, 30))
    await asyncio.sleep(0.05)
    await changed(feeder, None)
    assert await waiting is None


async def test_a_change_while_the_view_is_looked_at_is_not_missed(feed: tuple[ViewFeeder, Rows]) -> None:
    feeder, rows = feed
    looked = rows.get

    def slow(aggregate: str, ext_id: str) -> Any:
        found = looked(aggregate, ext_id)
        asyncio.run_coroutine_threadsafe(changed(feeder, 1), loop).result(5)
        return found

    loop = asyncio.get_running_loop()
    rows.get = slow  # type: ignore[method-assign]
    assert await feeder.wait_until("x.y", "k", lambda found: found is not None, 5) == {"version": 1}


async def test_waiting_ends_and_is_forgotten(feed: tuple[ViewFeeder, Rows]) -> None:
    feeder, _ = feed
    with pytest.raises(TimeoutError):
        await feeder.wait_until("x.y", "k", lambda found: found is not None, 0.05)
    assert not await feeder.wait_for("x.y", "k", 1, 0.05)
    waiting = asyncio.create_task(feeder.wait_until("x.y", "k", lambda found: found is not None, 30))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert feeder._waiting == {}


async def test_a_predicate_that_fails_fails_who_waits_and_not_the_feed(feed: tuple[ViewFeeder, Rows]) -> None:
    feeder, rows = feed
    waiting = asyncio.create_task(feeder.wait_until("x.y", "k", lambda found: found and found["no such"] > 0, 30))
    await asyncio.sleep(0.05)
    await changed(feeder, 1)
    with pytest.raises(KeyError):
        await waiting
    assert rows.rows == {"k": {"version": 1}}
