"""Reading to the end of partitions that do not answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from streams.kafka import consumer
from streams.kafka.consumer import KafkaSilent, read_to_end

TP = TopicPartition("identities", 0)


class Silent:
    """A consumer that has a position, or never gets one, and no records."""

    def __init__(self, position: int | None) -> None:
        self._position = position

    async def position(self, tp: TopicPartition) -> int:
        if self._position is None:
            await asyncio.Event().wait()
        return self._position or 0

    async def getmany(self, *tps: TopicPartition, timeout_ms: int) -> dict[TopicPartition, Any]:
        await asyncio.sleep(0)
        return {}


@pytest.mark.parametrize(("position", "what"), [(None, "no start"), (0, "nothing")])
async def test_a_partition_that_gives_no_answer_is_named(
    monkeypatch: pytest.MonkeyPatch, position: int | None, what: str
) -> None:
    """Without a position aiokafka waits without end, as for a partition without a leader that was not sought to."""
    monkeypatch.setattr(consumer, "SILENCE_S", 0.01)

    async def read() -> None:
        async with asyncio.timeout(10):
            async for _ in read_to_end(Silent(position), {TP: 1}):
                pass

    with pytest.raises(KafkaSilent, match=f"{what} of identities 0"):
        await read()
