"""The content of a feed file that was downloaded, or of one on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO, Final

from adapters.feeds.errors import BrokenFeed
from adapters.feeds.parse.pages import MOST_BYTES
from adapters.feeds.parse.unpack import unpacked

_PIECE: Final = 64 * 1024
_BOM: Final = b"\xef\xbb\xbf"


class Content:
    """An open file of one document, or of the pages of a list one after the other.

    ``ends``: the offsets at which pages end, empty for one document. ``hint``: the type in the address.
    """

    def __init__(self, file: BinaryIO, ends: tuple[int, ...] = (), hint: str = "") -> None:
        self._file, self._ends, self.hint = file, ends, hint

    def pieces(self) -> Iterator[bytes]:
        """Returns the bytes of the document, unpacked. Raises BrokenFeed."""
        return unpacked(self._raw(0, None))

    def is_json(self) -> bool:
        """Returns whether the document begins as JSON does. Raises BrokenFeed."""
        begin = b""
        for piece in self.pieces():
            begin += piece
            if begin.removeprefix(_BOM).strip() or len(begin) > _PIECE:
                break
        return begin.removeprefix(_BOM).lstrip()[:1] in (b"{", b"[")

    def pages(self) -> Iterator[bytes]:
        """Returns each page, unpacked. Raises BrokenFeed for one that is too large."""
        start = 0
        for end in self._ends or (None,):
            yield whole(unpacked(self._raw(start, end)))
            start = end or 0

    def last_page(self) -> bytes:
        """Returns the last page, unpacked. Raises BrokenFeed if it is too large."""
        start, end = (0, *self._ends)[-2:]
        return whole(unpacked(self._raw(start, end)))

    def _raw(self, start: int, end: int | None) -> Iterator[bytes]:
        at = start
        while end is None or at < end:
            self._file.seek(at)  # several readers may be at work
            piece = self._file.read(_PIECE if end is None else min(_PIECE, end - at))
            if not piece:
                return
            at += len(piece)
            yield piece


def whole(pieces: Iterator[bytes]) -> bytes:
    """Returns a page in one piece, without a byte order mark. Raises BrokenFeed if it is too large."""
    page = bytearray()
    for piece in chain(pieces):
        page += piece
        if len(page) > MOST_BYTES:
            raise BrokenFeed("page", f"at most {MOST_BYTES} bytes", "more")
    return bytes(page.removeprefix(_BOM))
