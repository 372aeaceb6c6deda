"""Decompression of batches of records up to a bound. A megabyte can become a gigabyte, by mistake or not; aiokafka
decompresses without a bound.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any, Final

import cramjam
from aiokafka.errors import CorruptRecordException

MOST_BYTES: Final = 64 << 20
"""Bytes of one batch. Producers count a batch's bytes, most of them before compression, in single megabytes."""
FIRST_BYTES: Final = 64 << 10
GROWTH: Final = 8
XERIAL: Final = b"\x82SNAPPY\x00"
XERIAL_HEADER: Final = 16
MOST_MEMBERS: Final = 1_000
"""Members of a gzip stream; producers write one."""
_INT: Final = struct.Struct(">i")


class TooLong(CorruptRecordException):  # type: ignore[misc]
    """A batch has more than `MOST_BYTES`."""

    def __init__(self) -> None:
        super().__init__(f"it is more than {MOST_BYTES >> 20} MiB when it is decompressed")


def gzip_decode(payload: Any) -> bytes:
    """Returns the content of all members of the stream. Raises TooLong, CorruptRecordException."""
    found, left, members = bytearray(), bytes(payload), 0
    while left.strip(b"\0"):
        members += 1
        if members > MOST_MEMBERS:
            raise CorruptRecordException(f"gzip: more than {MOST_MEMBERS} members")
        member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        found += member.decompress(left, MOST_BYTES + 1 - len(found))
        if len(found) > MOST_BYTES:
            raise TooLong
        if not member.eof:
            raise CorruptRecordException("gzip: the data is cut off")
        left = member.unused_data
    return bytes(found)


def snappy_decode(payload: Any) -> bytes:
    """Returns the content of one block, or of the blocks of Java's library. Raises TooLong, CorruptRecordException."""
    data = bytes(payload)
    if not data.startswith(XERIAL):
        return _block(data, MOST_BYTES)
    found, at = bytearray(), XERIAL_HEADER
    while at < len(data):
        if at + _INT.size > len(data):
            raise CorruptRecordException("snappy: a block's length is cut off")
        (size,) = _INT.unpack_from(data, at)
        at += _INT.size
        if not 0 < size <= len(data) - at:
            raise CorruptRecordException(f"snappy: a block of {size} bytes, where {len(data) - at} are left")
        found += _block(data[at : at + size], MOST_BYTES - len(found))
        at += size
    return bytes(found)


def _block(data: bytes, most: int) -> bytes:
    if cramjam.snappy.decompress_raw_len(data) > most:
        raise TooLong
    return bytes(cramjam.snappy.decompress_raw(data))


def lz4_decode(payload: Any) -> bytes:
    """Returns the content of a frame. Raises TooLong, CorruptRecordException."""
    return _grown(cramjam.lz4.decompress_into, bytes(payload))


def zstd_decode(payload: Any) -> bytes:
    """Returns the content of frames. Raises TooLong, CorruptRecordException."""
    return _grown(cramjam.zstd.decompress_into, bytes(payload))


def _grown(decompress_into: Callable[[bytes, bytearray], int], data: bytes) -> bytes:
    """Decompress into ever larger buffers: a frame need not give its size, or may give a wrong one."""
    room = min(max(FIRST_BYTES, GROWTH * len(data)), MOST_BYTES)
    while True:
        out = bytearray(room)
        try:
            return bytes(memoryview(out)[: decompress_into(data, out)])
        except cramjam.DecompressionError as error:
            if room < MOST_BYTES:  # only the text shows whether the buffer was too small
                room = min(GROWTH * room, MOST_BYTES)
            elif "whole buffer" in str(error):
                raise TooLong from None
            else:
                raise CorruptRecordException(f"the compressed data is broken: {error}") from None


DECODERS: Final = {
    "gzip_decode": gzip_decode,
    "snappy_decode": snappy_decode,
    "lz4_decode": lz4_decode,
    "zstd_decode": zstd_decode,
}
"""Decoders by aiokafka's names."""
