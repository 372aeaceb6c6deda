"""Records that are deleted before they are read: logged and counted, for every consumer.

A topic's retention, or a person, may delete records that a consumer has not read yet. aiokafka 0.14 then goes on at the
first record that is left, and logs that at a level that is off by default.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.subscription_state import TopicPartitionState
from aiokafka.structs import TopicPartition
from loguru import logger

_await_reset: Final = TopicPartitionState.await_reset
_update: Final = Fetcher._update_fetch_positions
_told: Final = set[tuple[str, int, int, int]]()


def tell(topic: str, partition: int, first: int, following: int) -> int:
    """Log that records from ``first`` to before ``following`` are gone. Returns the number of these offsets, markers of
    transactions included; 0 if it was logged before: a group and its consumer may both find it.
    """
    if (gap := (topic, partition, first, following)) in _told:
        return 0
    _told.add(gap)
    count = following - first
    logger.error(
        "{} {}: the records {} to {} were deleted before they were read, at most {}. Nothing brings them back: look at "
        "the topic's retention.ms and retention.bytes, and send again what is missing.",
        topic, partition, first, following - 1, count,
    )  # fmt: skip
    return count


def deleted(consumer: AIOKafkaConsumer, topics: Iterable[str] | None = None) -> int:
    """Returns the number of offsets that a consumer has passed over since its start, in some topics or in all."""
    counts: dict[TopicPartition, int] = getattr(getattr(consumer, "_fetcher", None), "_kounter_deleted", {})
    wanted = None if topics is None else set(topics)
    return sum(count for tp, count in list(counts.items()) if wanted is None or tp.topic in wanted)


def _note_position(self: Any, strategy: int) -> None:
    self._kounter_was_at = self._position
    _await_reset(self, strategy)


async def _told_update(self: Any, assignment: Any, node_id: int, tps: list[TopicPartition]) -> Any:
    was_at = {tp: getattr(assignment.state_value(tp), "_kounter_was_at", None) for tp in tps}
    result = await _update(self, assignment, node_id, tps)
    for tp, before in was_at.items():
        state = assignment.state_value(tp)
        if before is None or not state.has_valid_position:
            continue
        state._kounter_was_at = None
        if state.position > before:
            counts = self.__dict__.setdefault("_kounter_deleted", {})
            counts[tp] = counts.get(tp, 0) + tell(tp.topic, tp.partition, before, state.position)
    return result


def install() -> None:
    """Patch every consumer of this process; a second call changes nothing."""
    TopicPartitionState.await_reset = _note_position
    Fetcher._update_fetch_positions = _told_update
