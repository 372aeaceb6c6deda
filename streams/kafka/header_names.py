"""A patch of aiokafka 0.14: a record with a header whose name is not UTF-8, which brokers accept and C clients can
send, ends every reader of its partition, at each start again. `Lenient` replaces the bytes of such a name that can't be
read; `streams.kafka.batches.unpacking` uses it where it is needed.
"""

from __future__ import annotations

from typing import Any, Final

from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.legacy_records import LegacyRecordBatch
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy
from aiokafka.record.util import decode_varint_py

MAGIC_AT: Final = 16
"""Offset of a batch's format number."""


class _Piece(bytes):
    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode("utf-8", "replace")


class _Buffer(bytearray):
    """A buffer whose parts are read as text, whatever they hold."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _Piece(found) if isinstance(at, slice) else found


class _Batch(_DefaultRecordBatchPy):  # type: ignore[misc]
    _buffer: bytearray
    _pos: int

    def _read_msg(self, *args: Any) -> Any:
        if not isinstance(self._buffer, _Buffer):
            self._buffer = _Buffer(self._buffer)  # here, as it is not decompressed before
        found = super()._read_msg(decode_varint_py)  # the one in C reads beyond the end, and ends the process
        if self._pos > len(self._buffer):  # parts beyond the end were taken for shorter ones
            raise CorruptRecordException("the last record is cut off")
        return found


class Lenient(_MemoryRecordsPy):  # type: ignore[misc]
    """Reads the batches of a fetch that hold an offset from ``since`` on; those before have been read."""

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


class Kept(MemoryRecords):  # type: ignore[misc]
    """aiokafka's own records, fast and strict, with their bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data
