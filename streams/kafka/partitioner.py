"""The partition of a key."""

from __future__ import annotations

import struct
from typing import Final


def partition_of(key: bytes, partitions: int) -> int:
    """Returns the partition that Java's default partitioner, and so every well-set producer, gives to ``key``."""
    return (_murmur2(key) & 0x7FFFFFFF) % partitions


def _murmur2(data: bytes) -> int:
    """Returns the hash as aiokafka's function, which a test compares it with, but by whole words: the lane calls it for
    every new key.
    """
    length = len(data)
    tail = length & 3
    h = _SEED ^ length
    for (k,) in _WORD.iter_unpack(data[: length - tail]):
        k = k * _MIX & _MASK
        h = h * _MIX & _MASK ^ (k ^ k >> 24) * _MIX & _MASK
    if tail:
        h = (h ^ int.from_bytes(data[-tail:], "little")) * _MIX & _MASK
    h = (h ^ h >> 13) * _MIX & _MASK
    return h ^ h >> 15


_WORD: Final = struct.Struct("<I")

_SEED: Final = 0x9747B28C

_MIX: Final = 0x5BD1E995

_MASK: Final = 0xFFFFFFFF
