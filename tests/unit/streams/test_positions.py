"""Where a group stands, of a coordinator that is not ready yet."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.errors import GroupLoadInProgressError, NotCoordinatorForGroupError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams import positions
from streams.positions import CutShort, committed_offsets, find_progress

HERE = {TopicPartition("t", 0): OffsetAndMetadata(7, "")}


class Admin:
    """Answers after so many errors."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    async def list_consumer_group_offsets(self, group: str, partitions: Any) -> Any:
        if self.errors:
            raise self.errors.pop(0)
        return HERE


async def test_a_coordinator_that_loads_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(positions, "AGAIN_S", 0.0)
    admin: Any = Admin(GroupLoadInProgressError(), NotCoordinatorForGroupError())
    assert await committed_offsets(admin, "g") == HERE


async def test_one_that_loads_for_too_long_is_an_error_and_never_a_group_without_offsets() -> None:
    admin: Any = Admin(GroupLoadInProgressError())
    with pytest.raises(GroupLoadInProgressError):
        await committed_offsets(admin, "g", patience_s=-1)


class Topic:
    """A consumer of one that ends at 5."""

    async def beginning_offsets(self, tps: Any) -> dict[TopicPartition, int]:
        return dict.fromkeys(tps, 0)

    async def end_offsets(self, tps: Any) -> dict[TopicPartition, int]:
        return dict.fromkeys(tps, 5)


async def test_a_topic_that_lost_its_end_is_not_begun_anew() -> None:
    """All its commands were carried out a second time. One that was never worked on begins where it does."""
    admin: Any = Admin()
    consumer: Any = Topic()
    with pytest.raises(CutShort, match="g stands at 7 of t 0, which ends at 5"):
        await find_progress(admin, consumer, "g", list(HERE), list(HERE))
    found, _ = await find_progress(admin, consumer, "g", list(HERE), [])
    assert [progress.next for progress in found.values()] == [0]
