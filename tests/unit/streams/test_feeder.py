"""What a view's feed says of itself while it reads nothing."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaError
from loguru import logger

from schemas.kafka import KafkaSettings
from streams.feeder import Feeder


async def test_a_feed_that_reads_nothing_is_not_said_to_be_caught_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway was ready with a view that nobody fed."""
    view: Any = None
    feeder = Feeder(KafkaSettings(), [], view)
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

    monkeypatch.setattr("streams.feeder.AIOKafkaConsumer", Away)
    running = asyncio.create_task(feeder.run())
    await tried.wait()
    assert (feeder.behind, feeder.caught_up) == (None, False)
    running.cancel()


async def test_a_state_that_cant_be_read_holds_up_no_other() -> None:
    """Somebody else's bytes on a changelog ended the gateway, again after each start."""
    applied: list[Any] = []
    layout = SimpleNamespace(load=int)
    view: Any = SimpleNamespace(layouts={"x.y": layout}, apply=lambda changes, offsets: applied.extend(changes))
    feeder = Feeder(KafkaSettings(), [], view)
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

    async def same(self: Feeder) -> None: ...

    monkeypatch.setattr("streams.feeder.AIOKafkaConsumer", Shortened)
    monkeypatch.setattr(Feeder, "_check_cluster", same)
    offsets = {} if known is None else {("c", 0): known}
    view: Any = SimpleNamespace(offsets=lambda: offsets)
    domain: Any = SimpleNamespace(changelog="c")
    feeder = Feeder(KafkaSettings(partitions=1), [domain], view)
    said: list[str] = []
    sink = logger.add(lambda message: said.append(str(message)), level="ERROR")
    running = asyncio.create_task(feeder.run())
    await reading.wait()
    running.cancel()
    logger.remove(sink)
    assert feeder.deleted == gone
    assert bool(said) is bool(gone)
