"""Progress of a partition, and the counts of its commands: a committed offset and its metadata.

So both are as exact as the transaction that commits them, and any Kafka client can read them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from loguru import logger

from streams.kafka.deleted_records import tell
from streams.kafka.offsets import CutShort, LostOffsets, committed_offsets

VERSION: Final = "2"
"""Version of the metadata of a committed offset."""
TALLY: Final = b"tally"
"""Key of a partition's counts in the delivery's changelog."""
NOTED: Final = 11_000
"""Offsets beyond the committed one that its metadata can note: two bitmaps in base64 within Kafka's 4,096 bytes.
Commands beyond are done again after a crash, under the same ids.
"""


@dataclass
class Tally:
    """Outcomes of a partition's commands since its first; the parked are current counts."""

    completed: int = 0
    failed: int = 0
    """Commands refused for their data; a refused retry counts again."""
    undecodable: int = 0
    """Records that are no commands: they are in the dead letters."""
    parked: int = 0
    """Refused commands and those behind them."""
    parked_keys: int = 0

    def dump(self) -> bytes:
        """Returns the counts as the changelog keeps them, for the case that a person sets the group's offsets, which
        drops their metadata.
        """
        return ",".join(map(str, astuple(self))).encode()

    @classmethod
    def load(cls, data: bytes | None) -> Tally:
        """Returns the counts of an entry of the changelog; an entry of another version counts as none."""
        try:
            return cls(*map(int, (data or b"").split(b","))) if data else cls()
        except (ValueError, TypeError):
            return cls()


class OffsetTracker:
    """Tracks the commands of a partition that are done: a committed offset, and in its metadata those beyond it.

    So a record that waits for its key neither holds up the receipts of others nor makes them come twice after a crash.
    """

    def __init__(
        self, position: int, done: Iterable[int] = (), told: Iterable[int] = (), tally: Tally | None = None
    ) -> None:
        self.next = position
        """Offset of the next record to be read."""
        self.deleted = 0
        """Records before it that were deleted unread."""
        self.tally = tally or Tally()
        self._open: dict[int, None] = {}  # read and not done, ascending
        self._done = set(done)
        self._told = set(told)
        """Records of which an error was reported while they are still being tried."""

    @classmethod
    def restore(cls, position: int, metadata: str) -> OffsetTracker:
        """Returns the tracker of a committed offset. Metadata that is not our own, or broken, counts as none."""
        if not metadata:
            return cls(position)
        try:
            version, done, told, counts = metadata.split(":")
            if version == VERSION:
                tally = Tally(*map(int, counts.split(",")))
                return cls(position, _offsets(position, done), _offsets(position, told), tally)
        except (ValueError, TypeError, binascii.Error):
            pass
        logger.warning("metadata of a committed offset can't be read: records beyond {} may be done again", position)
        return cls(position)

    @property
    def low(self) -> int:
        """Returns the first offset that is not done: a successor begins there."""
        return next(iter(self._open), self.next)

    @property
    def span(self) -> int:
        """Returns the number of offsets between the first that is not done and the last that was read."""
        return self.next - self.low

    def take(self, offset: int) -> bool:
        """Note that a record was read. Returns False if it was done before. Raises ValueError unless offsets ascend."""
        if offset < self.next:
            raise ValueError(f"offset {offset} was read after {self.next - 1}")
        self.next = offset + 1
        if offset in self._done:
            return False
        self._open[offset] = None
        return True

    def finish(self, offset: int) -> None:
        """Note that a record that was taken is done."""
        del self._open[offset]
        self._done.add(offset)

    def tell(self, offset: int) -> None:
        """Note that an error receipt was sent for a record that is still being tried."""
        self._told.add(offset)

    def told(self, offset: int) -> bool:
        """Returns whether an error receipt was sent, by a former owner too."""
        return offset in self._told

    @property
    def stalled(self) -> int:
        """Returns the number of commands whose error was reported and that are still being tried."""
        return len(self._told - self._done)

    @property
    def stalled_offsets(self) -> list[int]:
        """Returns the offsets of those commands, ascending."""
        return sorted(self._told - self._done)

    @property
    def done_beyond(self) -> int:
        """Returns the number of commands that are done behind the first that is not."""
        return len(self._done)

    def skip_to(self, position: int) -> bool:
        """Move to ``position``, before which are only commit markers. Returns whether the position is new."""
        if self._open or position <= self.next:
            return False
        self.next = position
        return True

    def mark(self) -> Any:
        """Returns the position to commit: an `OffsetAndMetadata`."""
        low = self.low
        self._done = {offset for offset in self._done if offset > low}
        self._told = {offset for offset in self._told if offset >= low}
        counts = astuple(self.tally)
        if not self._done and not self._told and not any(counts):
            return OffsetAndMetadata(low, "")
        bitmaps = f"{_bitmap(low, self._done)}:{_bitmap(low, self._told)}"
        return OffsetAndMetadata(low, f"{VERSION}:{bitmaps}:{','.join(map(str, counts))}")


def _bitmap(low: int, offsets: set[int]) -> str:
    bits = 0
    for offset in offsets:
        if offset - low < NOTED:
            bits |= 1 << (offset - low)
    return base64.b64encode(bits.to_bytes((bits.bit_length() + 7) // 8, "little")).decode()


def _offsets(low: int, bitmap: str) -> list[int]:
    bits = int.from_bytes(base64.b64decode(bitmap, validate=True), "little")
    return [low + i for i in range(min(bits.bit_length(), NOTED)) if bits >> i & 1]


async def find_trackers(
    admin: AIOKafkaAdminClient,
    consumer: AIOKafkaConsumer,
    group: str,
    partitions: Sequence[TopicPartition],
    known: Collection[TopicPartition],
) -> tuple[dict[TopicPartition, OffsetTracker], dict[TopicPartition, int]]:
    """Returns where each partition goes on and where it ends; deleted records are logged.

    Raises LostOffsets and CutShort for one of ``known``, on which work was done, and KafkaError.
    """
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
            logger.warning("{}: committed {} is behind its end {}: was the topic created again?", tp, offset, ends[tp])
            offset, metadata = begins[tp], ""
        found[tp] = OffsetTracker.restore(max(offset, 0), metadata)
        if (begin := begins[tp]) > found[tp].next:
            found[tp].deleted = tell(tp.topic, tp.partition, found[tp].next, begin)
            found[tp].next = begin
    return found, ends
