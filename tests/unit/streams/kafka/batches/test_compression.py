"""Decompression up to a bound, held to aiokafka's."""

from __future__ import annotations

import gzip
import random
import resource

import pytest
from aiokafka import codec
from aiokafka.errors import CorruptRecordException

from streams.kafka.batches import compression
from streams.kafka.batches.compression import DECODERS, MOST_BYTES, TooLong

CODECS = ("gzip", "snappy", "lz4", "zstd")


def encoded(name: str, data: bytes) -> bytes:
    return bytes(getattr(codec, f"{name}_encode")(data))


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
@pytest.mark.parametrize("name", CODECS)
def test_what_aiokafka_compresses_is_read(name: str, size: int) -> None:
    data = random.Random(size).randbytes(min(size, 1_000)) * (size // 1_000 + 1)
    packed = encoded(name, data[:size])
    assert DECODERS[f"{name}_decode"](packed) == data[:size]
    assert DECODERS[f"{name}_decode"](memoryview(packed)) == data[:size]


def test_a_plain_block_of_snappy_and_several_members_of_gzip_are_read() -> None:
    assert compression.snappy_decode(codec.snappy_encode(b"a" * 100, xerial_compatible=False)) == b"a" * 100
    assert compression.gzip_decode(gzip.compress(b"a") + gzip.compress(b"b") + b"\0" * 8) == b"ab"


@pytest.mark.parametrize("name", CODECS)
def test_a_bomb_is_refused_within_bounds(name: str) -> None:
    bomb = bytes(4 * MOST_BYTES)
    packed = gzip.compress(bomb, 1) if name == "gzip" else encoded(name, bomb)  # aiokafka's level takes a second
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TooLong, match="64 MiB"):
        DECODERS[f"{name}_decode"](packed)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 3 * MOST_BYTES / 1024


@pytest.mark.parametrize("name", CODECS)
def test_as_much_as_the_bound_is_read(name: str) -> None:
    assert len(DECODERS[f"{name}_decode"](encoded(name, bytes(MOST_BYTES)))) == MOST_BYTES


@pytest.mark.parametrize("name", CODECS)
def test_what_is_cut_off_is_an_error(name: str) -> None:
    packed = encoded(name, random.Random(1).randbytes(5_000))
    for end in (17, len(packed) // 2, len(packed) - 1):
        with pytest.raises(CorruptRecordException):
            DECODERS[f"{name}_decode"](packed[:end])


def test_blocks_of_snappy_that_lead_back_are_an_error() -> None:
    packed = bytearray(encoded("snappy", b"a" * 100))
    packed[16:20] = (-4).to_bytes(4, "big", signed=True)
    with pytest.raises(CorruptRecordException, match="a block of -4 bytes"):
        compression.snappy_decode(packed)
