"""The number and the age of the changes that wait. They stand in the metadata of the group's committed offset, as the
memory has an entry for each subject that was ever written, which is too much to read for every look.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from schemas.backend import CHANGES
from streams.backend_log.topics import GROUP
from streams.kafka.offsets import committed_offsets
from streams.kafka.settings import KafkaSettings

PLACE: Final = TopicPartition(CHANGES, 0)
"""The partition whose offset carries it."""
_TEXT: Final = re.compile(r"waiting=(\d{1,15});oldest_ms=(\d{1,15})", re.ASCII)


class Backlog(NamedTuple):
    """The changes that wait, as of the writer's last commit."""

    waiting: int = 0
    oldest_ms: int | None = None
    """Time since which the oldest of them waits, in milliseconds since the epoch; None if none does."""

    def age_s(self, now_ms: int) -> float:
        """Returns the seconds for which the oldest waits, 0 if none does."""
        return 0.0 if self.oldest_ms is None else max(0.0, (now_ms - self.oldest_ms) / 1_000)

    def at(self, position: int) -> OffsetAndMetadata:
        """Returns a position to commit that carries the backlog."""
        text = "" if self.oldest_ms is None else f"waiting={self.waiting};oldest_ms={self.oldest_ms}"
        return OffsetAndMetadata(position, text)

    @classmethod
    def of(cls, committed: OffsetAndMetadata | None) -> Self:
        """Returns the backlog that a committed position carries, an empty one if it carries none."""
        found = _TEXT.fullmatch((committed.metadata or "") if committed else "")
        return cls(int(found[1]), int(found[2])) if found else cls()


async def backlog(kafka: KafkaSettings) -> Backlog:
    """Returns what waits; the writer need not run. Raises KafkaError."""
    admin = AIOKafkaAdminClient(**kafka.client_options(), request_timeout_ms=15_000)
    try:
        await admin.start()
        return Backlog.of((await committed_offsets(admin, GROUP, [PLACE])).get(PLACE))
    finally:
        await admin.close()
