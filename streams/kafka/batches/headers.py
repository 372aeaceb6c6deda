"""Places of the batches of a fetch, by their headers alone: also of one that can't be unpacked."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from schemas.errors import BrokenSetup, shorten

_HEAD: Final = struct.Struct(">qi")
"""Base offset and length, as in all formats."""
_MAGIC_AT: Final = 16
_V2: Final = struct.Struct(">Ihiqqqhii")
"""Fields from the checksum on: attributes, last offset's delta, first and last time, producer, epoch, sequence,
records.
"""
_V2_AT: Final = 17
_OLD: Final = struct.Struct(">Ibb")
"""Fields from the checksum on: format, attributes."""
_CODEC: Final = 7


class BatchId(NamedTuple):
    """Id of a batch: one at the same place of a topic that was deleted and created again has another checksum."""

    topic: str
    partition: int
    last: int
    crc: int


class Slice(NamedTuple):
    """A batch within the bytes of a fetch."""

    start: int
    end: int
    first: int
    """Its first offset; 0 for a compressed one of an old format, which does not contain it."""
    last: int
    crc: int
    records: int | None
    """Number according to its header."""
    timestamp: int
    """Time of its last record in ms, 0 if the header lacks it."""


def batch_at(data: bytes, offset: int) -> Slice:
    """Returns the first batch that holds ``offset`` or a later one.

    A batch that is cut off, or whose header can't be true, is taken for that one, to the end of the data.
    """
    start = 0
    while start + _MAGIC_AT < len(data):
        first, length = _HEAD.unpack_from(data, start)
        end = start + _HEAD.size + length
        whole = length > 0 and end <= len(data)
        found = _read(data, start, end if whole else len(data), max(first, 0))
        if found.last >= offset or not whole:
            return found
        start = end
    return Slice(start, len(data), offset, offset, 0, None, 0)


def _read(data: bytes, start: int, end: int, first: int) -> Slice:
    if data[start + _MAGIC_AT] < 2 and end - start > _MAGIC_AT + 1:
        crc, _, attributes = _OLD.unpack_from(data, start + _HEAD.size)
        return Slice(start, end, 0 if attributes & _CODEC else first, first, crc, None, 0)
    if end - start < _V2_AT + _V2.size:
        return Slice(start, end, first, first, 0, None, 0)
    crc, _, delta, _, timestamp, _, _, _, records = _V2.unpack_from(data, start + _V2_AT)
    return Slice(start, end, first, first + max(delta, 0), crc, records, timestamp)


class UnreadableBatch(BrokenSetup):
    """A batch of records that can't be unpacked: its codec is unknown, its checksum or its content is broken, or it
    becomes too large. Its partition stands there, others go on.
    """

    code = "unreadable_batch"
    hint = (
        "Fix its producer. `kounter dead-letters pass TOPIC PARTITION OFFSET` passes over it and keeps it; until then "
        "what stands behind it waits."
    )

    def __init__(self, topic: str, partition: int, offset: int, found: Slice, raw: bytes, why: BaseException) -> None:
        """``offset`` is the first that can't be read, behind those of the batch that could."""
        self.offset, self.last = offset, max(found.last, offset)
        self.id = BatchId(topic, partition, self.last, found.crc)
        self.raw, self.records, self.timestamp = raw, found.records, found.timestamp
        self.cause = _said(why)
        super().__init__(
            f"{topic} partition {partition} stands at offset {offset}: the batch up to offset {self.last} can't be "
            f"unpacked: {self.cause}.",
            hint=self.hint.replace("TOPIC PARTITION OFFSET", f"{topic} {partition} {offset}"),
        )


def _said(why: BaseException) -> str:
    """Returns the text of an error of aiokafka, zlib or cramjam. None of them shows the content of a record."""
    text = str(why.args[0]) if why.args else ""
    if text.startswith("Invalid CRC"):
        return "its checksum is another one"
    return " ".join(shorten(text, 200).strip("'\"").split()) or type(why).__name__
