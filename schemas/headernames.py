"""Mends aiokafka 0.14: a record with a header whose name is not UTF-8, which brokers take and C clients can send, ends
every reader of its partition, at every start again. With `install` what can't be read of such a name is replaced.
"""

from __future__ import annotations

from typing import Any, Final

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.legacy_records import LegacyRecordBatch
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy

MAGIC_AT: Final = 16
"""Where a batch says its format."""


class _Piece(bytes):
    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode("utf-8", "replace")


class _Buffer(bytearray):
    """Its parts are read as text whatever they hold."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _Piece(found) if isinstance(at, slice) else found


class _Batch(_DefaultRecordBatchPy):  # type: ignore[misc]
    _buffer: bytearray

    def _read_msg(self, *args: Any) -> Any:
        if not isinstance(self._buffer, _Buffer):
            self._buffer = _Buffer(self._buffer)  # here, as it is not decompressed before
        return super()._read_msg(*args)


class _Lenient(_MemoryRecordsPy):  # type: ignore[misc]
    """The batches of a fetch that hold an offset from ``since`` on; those before have been looked at."""

    def __init__(self, data: bytes, since: int) -> None:
        super().__init__(data)
        self._since = since

    def has_next(self) -> bool:
        while self._next_slice is not None and self._batch().next_offset <= self._since:
            self._cache_next()
        return self._next_slice is not None

    def next_batch(self, *args: Any) -> Any:
        batch = self._batch()
        self._cache_next()
        return batch

    def _batch(self) -> Any:
        piece: Any = self._next_slice
        return _Batch(piece) if piece[MAGIC_AT] >= 2 else LegacyRecordBatch(piece, piece[MAGIC_AT])


class _Kept(MemoryRecords):  # type: ignore[misc]
    """aiokafka's own, which is fast and strict, and its bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


def _next(self: Any) -> Any:
    """As aiokafka's `PartitionRecords.__next__`."""
    try:
        return next(self._records_iterator)
    except StopIteration:
        self._records_iterator = None
        raise
    except UnicodeDecodeError:
        if not isinstance(self._records, _Kept):
            raise
    self._records = _Lenient(self._records.data, self.next_fetch_offset)
    self._records_iterator = self._unpack_records()
    return _next(self)


def install() -> None:
    """For every consumer of this process; again: no change."""
    fetcher.MemoryRecords = _Kept
    fetcher.PartitionRecords.__next__ = _next
