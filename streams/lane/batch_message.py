"""Whole batches as Faust's messages: their size, and the offsets that they cover."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from faust.types import TP
from faust.types.tuples import ConsumerMessage

BATCH_RECORDS: Final = 2_000
"""Most records of a message: it bounds a transaction's size and latency."""
BATCH_BYTES: Final = 4 << 20
"""Most bytes of a message's keys and values; a larger record goes alone. Two thousand of a megabyte would be 2 GB."""


class BatchMessage(ConsumerMessage):  # type: ignore[misc]
    """One message for many records: ``value`` is the list of raw records, offsets ``[base, offset]`` are covered."""

    __slots__ = ("base", "weight")

    base: int
    weight: int
    """Bytes of its keys and values."""


def parts_of(batch: list[Any]) -> Iterator[tuple[list[Any], int]]:
    """Yields the parts of a batch that go in one message each, and their bytes."""
    for start in range(0, len(batch), BATCH_RECORDS):
        part = batch[start : start + BATCH_RECORDS]
        sizes = [record.serialized_key_size + record.serialized_value_size for record in part]
        if (weight := sum(sizes)) <= BATCH_BYTES:
            yield part, weight
            continue
        first = weight = 0
        for i, size in enumerate(sizes):
            if i > first and weight + size > BATCH_BYTES:
                yield part[first:i], weight
                first, weight = i, 0
            weight += size
        yield part[first:], weight


def message_of(tp: TP, records: list[Any], weight: int, base: int, end: int, generation: int) -> BatchMessage:
    """Returns a message that covers the offsets from ``base`` to before ``end``."""
    seconds = records[-1].timestamp / 1000 if records else 0.0
    message = BatchMessage(
        tp.topic, tp.partition, end - 1, seconds, 0, None, None, records, None, 0, 0, tp, generation_id=generation
    )
    message.base, message.weight = base, weight
    return message
