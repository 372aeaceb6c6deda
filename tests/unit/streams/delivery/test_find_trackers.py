"""Where a group stands, of a coordinator that is not ready yet."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.errors import GroupLoadInProgressError, NotCoordinatorForGroupError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.delivery.offset_tracker import OffsetTracker, find_trackers
from streams.kafka import offsets
from streams.kafka.offsets import CutShort, StatesDeleted, check_begin, committed_offsets
from streams.kafka.settings import KafkaSettings

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
    monkeypatch.setattr(offsets, "AGAIN_S", 0.0)
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
        await find_trackers(admin, consumer, "g", list(HERE), list(HERE))
    found, _ = await find_trackers(admin, consumer, "g", list(HERE), [])
    assert [tracker.next for tracker in found.values()] == [0]


class Shortened(Topic):
    """It begins at 4 now."""

    async def beginning_offsets(self, tps: Any) -> dict[TopicPartition, int]:
        return dict.fromkeys(tps, 4)


async def test_what_was_deleted_is_counted_and_what_is_done_behind_it_is_not_done_again() -> None:
    before = OffsetTracker(2)
    for offset in (2, 3, 4):
        before.take(offset)
    before.finish(4)
    before.tally.completed = 9
    place = TopicPartition("deleted", 0)
    mark = before.mark()

    class Committed(Admin):
        async def list_consumer_group_offsets(self, group: str, partitions: Any) -> Any:
            return {place: mark}

    admin: Any = Committed()
    consumer: Any = Shortened()
    found, _ = await find_trackers(admin, consumer, "g", [place], [place])
    tracker = found[place]
    assert (tracker.next, tracker.low, tracker.deleted, tracker.tally.completed) == (4, 4, 2, 9)
    assert not tracker.take(4), "it is done"
    assert tracker.mark().offset == 5


@pytest.mark.parametrize(("at", "begin", "end"), [(0, 3, 9), (2, 3, 9), (0, 9, 9)])
def test_a_changelog_whose_first_states_are_gone(at: int, begin: int, end: int) -> None:
    place, kafka = TopicPartition("c", 1), KafkaSettings()
    with pytest.raises(StatesDeleted, match=f"c 1 begins at {begin}, read up to {at}"):
        check_begin(kafka, place, at, begin, end)
    check_begin(kafka.model_copy(update={"retention": "warn"}), place, at, begin, end)


@pytest.mark.parametrize(("at", "begin", "end"), [(0, 0, 9), (3, 3, 9), (7, 3, 9)])
def test_a_changelog_that_is_whole_from_there_on(at: int, begin: int, end: int) -> None:
    check_begin(KafkaSettings(), TopicPartition("c", 1), at, begin, end)
