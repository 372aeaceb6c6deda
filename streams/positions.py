"""Where a consumer group stands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from loguru import logger

from schemas.errors import BrokenSetup
from streams.progress import Progress

PATIENCE_S: Final = 10.0
AGAIN_S: Final = 0.2


class LostOffsets(BrokenSetup):
    """What a group has made of a partition is committed together with its offsets. Without them it does not know how
    far it came; to begin at the start would do everything a second time."""

    code = "lost_offsets"
    hint = (
        "They expired (the brokers' offsets.retention.minutes) or were deleted. Set them to where the work stands with "
        "`kounter offsets set`; to fold all of a domain again: `kounter rebuild`, docs/replay.md."
    )

    def __init__(self, group: str, partition: TopicPartition) -> None:
        super().__init__(f"group {group} has worked on {partition.topic} {partition.partition}, but has no offsets")


class CutShort(BrokenSetup):
    """A topic ends before the place up to which it was read or written. What stands there now is not what was there:
    read on from, it would be passed over up to that place."""

    code = "topic_cut_short"
    hint = (
        "It was made anew, or its brokers lost records. Set the group's offsets to where its work goes on, for a topic "
        "made anew to its start, with `kounter offsets set`. After a changelog all topics are folded again: "
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
    """Of some partitions, or of all that ever committed; offset -1 where nothing was.

    Of a cluster that never had a group the coordinator is made by the first question, and one that has just moved reads
    its offsets first: both are asked again. Raises KafkaError if that takes too long.
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


async def find_progress(
    admin: AIOKafkaAdminClient,
    consumer: AIOKafkaConsumer,
    group: str,
    partitions: Sequence[TopicPartition],
    known: Collection[TopicPartition],
) -> tuple[dict[TopicPartition, Progress], dict[TopicPartition, int]]:
    """Where each partition goes on, and where it ends. Raises LostOffsets and CutShort for one of ``known``, which was
    worked on."""
    if not partitions:
        return {}, {}
    committed = await committed_offsets(admin, group, partitions)
    begins = await consumer.beginning_offsets(partitions)
    ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
    found = {}
    for tp in partitions:
        offset, metadata = committed.get(tp) or (-1, "")
        if offset < 0 and tp in known:
            raise LostOffsets(group, tp)
        if offset > ends[tp]:
            if tp in known:
                raise CutShort(group, tp, offset, ends[tp])
            logger.warning("{}: committed {} is behind its end {}: was it made anew?", tp, offset, ends[tp])
        if not begins[tp] <= offset <= ends[tp]:
            offset, metadata = begins[tp], ""
        found[tp] = Progress.restore(offset, metadata)
    return found, ends
