"""Records with header names that are not UTF-8, as a fetch brings them."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import READ_COMMITTED
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.structs import TopicPartition

from streams.kafka.batches import unpacking

unpacking.install()
GZIP, PLAIN = 1, 0


class Name(str):
    """A name that a C client may send."""

    __slots__ = ()

    def encode(self, *args: Any) -> bytes:
        return b"\xff" + str(self).encode()


def batch(base: int, *records: tuple[bytes, list[tuple[str, bytes | None]]], compression: int = PLAIN) -> bytes:
    builder = _DefaultRecordBatchBuilderPy(2, compression, False, -1, -1, -1, 1 << 20)
    for offset, (value, headers) in enumerate(records):
        builder.append(offset=offset, timestamp=1_000, key=b"k", value=value, headers=headers)
    built = builder.build()
    return base.to_bytes(8, "big") + bytes(built[8:])


def read(data: bytes, start: int = 0) -> list[Any]:
    """As the consumer does."""
    records = fetcher.MemoryRecords(data)
    tp = TopicPartition("t", 0)
    return list(fetcher.PartitionRecords(tp, records, [], start, None, None, True, READ_COMMITTED))


@pytest.mark.parametrize("compression", [PLAIN, GZIP])
def test_they_are_read_with_all_around_them(compression: int) -> None:
    good: list[tuple[str, bytes | None]] = [("имя", b"\xff"), ("x", None)]
    bad: list[tuple[str, bytes | None]] = [(Name("x"), b"1"), ("имя", b"\xff"), ("", None)]
    first = batch(0, (b"0", good), (b"1", good))
    rest = b"".join(
        (
            batch(2, (b"2", good), (b"3", bad), (b"4", good), compression=compression),
            batch(5, (b"5", good), compression=compression),
            batch(9, (b"9", bad)),
        )
    )
    found = read(first + rest)
    assert [(r.offset, r.value, r.key, r.timestamp) for r in found] == [
        (n, str(n).encode(), b"k", 1_000) for n in (0, 1, 2, 3, 4, 5, 9)
    ]
    assert all(list(r.headers) == good for r in found if r.offset not in (3, 9))
    for r in found:
        assert type(r.value) is bytes
        assert type(r.key) is bytes
    assert list(found[3].headers) == [("\N{REPLACEMENT CHARACTER}x", b"1"), *bad[1:]]
    assert [r.offset for r in read(rest, 4)] == [4, 5, 9]
    assert [r.offset for r in read(rest, 3)] == [3, 4, 5, 9]


def test_without_such_a_name_the_fast_reader_is_used() -> None:
    records = fetcher.MemoryRecords(batch(0, (b"0", [("x", b"1")])))
    assert type(records.next_batch()).__module__.startswith("aiokafka.record._crecords")
