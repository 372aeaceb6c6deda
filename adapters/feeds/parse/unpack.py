"""The bytes of a feed file, out of gzip if they are in it, within bounds of size and ratio."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from adapters.feeds.errors import BrokenFeed

MOST_UNPACKED: Final = 2 << 30
MOST_RATIO: Final = 200
"""Bytes out of one packed byte: a feed has 30, a bomb a thousand."""
FREE_BYTES: Final = 8 << 20
"""Bytes that may come of any ratio: a short file of equal offers packs well."""
MOST_LAYERS: Final = 2
"""A packed file, sent packed by its server."""
_MAGIC: Final = b"\x1f\x8b"
_PIECE: Final = 64 * 1024


def unpacked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Returns the bytes of a file, whether packed or not. Raises BrokenFeed for a cut or wrong gzip, or a bomb."""
    for _ in range(MOST_LAYERS + 1):
        pieces = iter(pieces)
        begin = b""
        while len(begin) < len(_MAGIC) and (piece := next(pieces, None)) is not None:
            begin += piece
        pieces = chain([begin] if begin else [], pieces)
        if not begin.startswith(_MAGIC):
            return _counted(pieces)
        pieces = _gunzip(pieces)
    raise BrokenFeed("document", f"at most {MOST_LAYERS} layers of gzip", "more")


def _counted(pieces: Iterable[bytes]) -> Iterator[bytes]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > MOST_UNPACKED:
            raise BrokenFeed("document", f"at most {MOST_UNPACKED} bytes", "more")
        yield piece


def _gunzip(pieces: Iterable[bytes]) -> Iterator[bytes]:
    engine = zlib.decompressobj(wbits=31)
    packed = size = 0
    for piece in pieces:
        packed += len(piece)
        while piece:
            if engine.eof:  # a file may hold several, one after the other
                engine = zlib.decompressobj(wbits=31)
            try:
                out = engine.decompress(piece, _PIECE)
            except zlib.error:
                raise BrokenFeed("document", "whole gzip", "damaged gzip") from None
            piece = engine.unconsumed_tail or engine.unused_data
            size += len(out)
            if size > FREE_BYTES and size > MOST_RATIO * packed:
                raise BrokenFeed("document", f"gzip of a ratio of at most {MOST_RATIO}", "a higher one")
            if out:
                yield out
    if not engine.eof:
        raise BrokenFeed("document", "whole gzip", "gzip that is cut off")
