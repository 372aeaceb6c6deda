"""Committed offsets of consumer groups, and the errors when they do not fit their topics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from loguru import logger

from schemas.errors import BrokenSetup
from streams.kafka.settings import KafkaSettings

PATIENCE_S: Final = 10.0
AGAIN_S: Final = 0.2


class LostOffsets(BrokenSetup):
    """The results of a group are committed together with its offsets. Without them it does not know how far it came; to
    begin at the start would do everything a second time.
    """

    code = "lost_offsets"
    hint = (
        "They expired (the brokers' offsets.retention.minutes) or were deleted. Set them to where the work stands with "
        "`kounter offsets set`; to fold all of a domain again: `kounter rebuild`, docs/replay.md."
    )

    def __init__(self, group: str, partition: TopicPartition) -> None:
        super().__init__(f"group {group} has worked on {partition.topic} {partition.partition}, but has no offsets")


class CutShort(BrokenSetup):
    """A topic ends before the position up to which it was read or written. Its records are not those of before: new
    ones would be skipped up to that position.
    """

    code = "topic_cut_short"
    hint = (
        "It was created again, or its brokers lost records. Set the group's offsets to where its work goes on, "
        "for a new topic to its start, with `kounter offsets set`. After a changelog all topics are folded again: "
        "`kounter rebuild`, docs/replay.md."
    )

    def __init__(self, group: str, partition: TopicPartition, at: int, end: int) -> None:
        super().__init__(f"{group} stands at {at} of {partition.topic} {partition.partition}, which ends at {end}")


async def committed_offsets(
    admin: AIOKafkaAdminClient,
    group: str,
    partitions: Sequence[TopicPartition] | None = None,
    *,
    patience_s: float = PATIENCE_S,
) -> dict[TopicPartition, OffsetAndMetadata]:
    """Returns the committed offsets of some partitions, or of all that ever committed; offset -1 where there is none.

    In a cluster that never had a group the first request creates the coordinator, and one that has just moved loads its
    offsets first: both are asked again, for ``patience_s`` seconds. Raises KafkaError after that.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            found: dict[TopicPartition, OffsetAndMetadata] = await admin.list_consumer_group_offsets(
                group, partitions=partitions
            )
        except (GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError, GroupLoadInProgressError):
            if time.monotonic() > until:
                raise
            await asyncio.sleep(AGAIN_S)
        else:
            return found


class StatesDeleted(BrokenSetup):
    """The first records of a changelog were deleted. The states in them exist nowhere else: without them all would go
    on as if they had never been.
    """

    code = "states_deleted"
    hint = (
        "Its cleanup.policy was not compact, or somebody deleted records. Fold all again (docs/replay.md), or set "
        "KOUNTER_KAFKA__RETENTION=warn to go on with what is left."
    )

    def __init__(self, partition: TopicPartition, at: int, begin: int) -> None:
        super().__init__(f"changelog {partition.topic} {partition.partition} begins at {begin}, read up to {at}")


def check_begin(kafka: KafkaSettings, partition: TopicPartition, at: int, begin: int, end: int) -> None:
    """Check the beginning of a changelog that is to be read from ``at`` on. Raises StatesDeleted, or logs it, by the
    setting ``retention``.
    """
    if not at < begin <= end:
        return
    error = StatesDeleted(partition, at, begin)
    if kafka.retention == "refuse":
        raise error
    logger.error("{}: states are missing. {}", error.message, error.hint)
