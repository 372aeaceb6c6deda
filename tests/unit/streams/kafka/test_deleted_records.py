"""A consumer that goes on behind deleted records says so, once, and counts them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import Fetcher, OffsetResetStrategy
from aiokafka.consumer.subscription_state import Assignment
from aiokafka.structs import TopicPartition
from loguru import logger

from streams.kafka import deleted_records as hook
from streams.kafka.deleted_records import deleted, tell

EARLIEST = OffsetResetStrategy.EARLIEST


@pytest.fixture
def said() -> Iterator[list[str]]:
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(str(message)), level="WARNING")
    yield lines
    logger.remove(sink)


class Consumer:
    """aiokafka's positions, and a log that begins somewhere."""

    def __init__(self, begin: int) -> None:
        self.tp = TopicPartition(uuid.uuid4().hex, 0)
        self.assignment = Assignment([self.tp])
        self.state = self.assignment.state_value(self.tp)
        self._fetcher: Any = SimpleNamespace(_proc_offset_request=self.first)
        self.begin = begin

    async def first(self, node: int, asked: Any) -> dict[TopicPartition, Any]:
        return {self.tp: (self.begin, None)}

    async def read(self, at: int | None) -> None:
        """From a position that is out of range; None: from none."""
        if at is not None:
            self.state.seek(at)
        self.state.await_reset(EARLIEST)
        update: Any = Fetcher._update_fetch_positions
        await update(self._fetcher, self.assignment, 1, [self.tp])


async def test_what_was_never_read_is_told_once_and_counted(said: list[str]) -> None:
    hook.install()
    it: Any = Consumer(7)
    await it.read(2)
    await it.read(2)
    assert it.state.position == 7
    (line,) = said
    assert f"{it.tp.topic} 0: the records 2 to 6 were deleted before they were read, at most 5" in line
    assert deleted(it) == deleted(it, [it.tp.topic]) == 5
    assert deleted(it, ["another"]) == 0


@pytest.mark.parametrize(("at", "begin"), [(None, 7), (9, 7), (7, 7)])
async def test_who_begins_or_goes_back_has_missed_nothing(at: int | None, begin: int, said: list[str]) -> None:
    hook.install()
    it: Any = Consumer(begin)
    await it.read(at)
    assert (said, deleted(it)) == ([], 0)


def test_a_group_and_its_consumer_tell_of_a_gap_together_once(said: list[str]) -> None:
    topic = uuid.uuid4().hex
    assert [tell(topic, 0, 2, 7), tell(topic, 0, 2, 7), tell(topic, 1, 2, 7)] == [5, 0, 5]
    assert len(said) == 2


def test_a_consumer_that_has_not_begun_has_missed_nothing() -> None:
    it: Any = SimpleNamespace(_fetcher=None)
    assert deleted(it) == 0
