"""Where a consumer group stands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

PATIENCE_S: Final = 10.0
AGAIN_S: Final = 0.2


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
