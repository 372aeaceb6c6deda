"""gzip is read by its content, within bounds."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.feeds.errors import BrokenFeed
from adapters.feeds.parse.unpack import FREE_BYTES, unpacked


@given(st.lists(st.binary(max_size=50), max_size=3), st.integers(0, 2), st.integers(1, 30))
def test_what_was_packed_comes_out(parts: list[bytes], layers: int, size: int) -> None:
    raw = b"<" + b"".join(parts)
    for _ in range(layers):
        raw = gzip.compress(raw[: len(raw) // 2]) + gzip.compress(raw[len(raw) // 2 :])
    pieces = (raw[n : n + size] for n in range(0, len(raw), size))
    assert b"".join(unpacked(pieces)) == b"<" + b"".join(parts)


def bomb(megabytes: int) -> Iterator[bytes]:
    engine = zlib.compressobj(9, wbits=31)
    for _ in range(megabytes):
        yield engine.compress(bytes(1 << 20))
    yield engine.flush()


def counted(pieces: Iterator[bytes], taken: list[int]) -> Iterator[bytes]:
    for piece in pieces:
        taken.append(len(piece))
        yield piece


def test_a_bomb_is_refused_before_it_goes_off() -> None:
    taken: list[int] = []
    with pytest.raises(BrokenFeed, match="ratio"):
        list(unpacked(counted(bomb(100), taken)))
    assert len(taken) <= FREE_BYTES // (1 << 20) + 2


@pytest.mark.parametrize(
    ("raw", "came"),
    [
        (gzip.compress(os.urandom(1000))[:500], "gzip that is cut off"),
        (b"\x1f\x8bnot gzip at all", "damaged gzip"),
        (gzip.compress(b"x" * 9)[:-5] + b"12345", "damaged gzip"),
    ],
)
def test_damaged_gzip_is_refused(raw: bytes, came: str) -> None:
    with pytest.raises(BrokenFeed, match=came):
        list(unpacked([raw]))


def test_a_third_layer_is_refused() -> None:
    with pytest.raises(BrokenFeed, match="layers"):
        list(unpacked([gzip.compress(gzip.compress(gzip.compress(b"x")))]))
