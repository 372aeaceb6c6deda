"""What a view's feed says of itself while it reads nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import KafkaError

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
