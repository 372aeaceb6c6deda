"""The offers of an XML feed, one element at a time: a pull parser with bounds, whatever the root is called.

Entities are not expanded and nothing is loaded. lxml alone is not enough: it passes a DOCTYPE, makes an external entity
an empty value, and keeps 200,000 attributes. So a DOCTYPE is refused, and bytes are counted between offers.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple

from lxml import etree

from adapters.feeds.errors import BrokenFeed, NoRoot

OFFERS: Final = ("offer", "object", "Ad")
"""Elements that are offers: of YRL, CIAN and Avito."""
MOST_BYTES: Final = 256 * 1024
"""Bytes of one offer, and between two offers; an offer with 100 photographs has 30 kB. A parser keeps as much."""
MOST_DEPTH: Final = 12
"""Levels of elements in an offer; CIAN has 6."""
MOST_ATTRIBUTES: Final = 64
"""Attributes of one element; feeds have 3."""
MOST_OFFERS: Final = 2_000_000
MOST_NAMES: Final = 10_000
"""Different names of elements, attributes and namespaces; a feed has 100. A parser keeps each of them to the end."""
SAMPLED: Final = 1 / 16
"""Part of the offers whose names are counted, chosen by chance: a file of very many names has them in any part."""
_WITH_ATTRIBUTES: Final = ("image", "Image")
"""Elements within an offer whose attributes are read: to look at those of all would take a third of the time."""
_PIECE: Final = 64 * 1024
_DOCTYPE: Final = (b"<!DOCTYPE", "<!DOCTYPE".encode("utf-16-le"), "<!DOCTYPE".encode("utf-16-be"))
_BESIDES: Final = re.compile(rb"\xef\xbb\xbf|<!--.*?-->|<\?.*?\?>|\s+", re.DOTALL)
"""Text beside the root of a document."""
_HTML: Final = re.compile(rb"^\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)


class OfferElement(NamedTuple):
    """An offer as texts by path, such as ``price/value`` or ``image@tag``."""

    kind: str
    """One of `OFFERS`."""
    first: dict[str, str]
    """The first text of each path."""
    more: dict[str, list[str]]
    """All texts of paths that occur more than once."""

    def all(self, path: str) -> list[str]:
        """Returns every text of a path, in the order of the file."""
        return self.more.get(path) or ([self.first[path]] if path in self.first else [])


def offers(pieces: Iterable[bytes]) -> Iterator[OfferElement]:
    """Returns the offers of a feed. Raises BrokenFeed at the place where it breaks, so use none before the end."""
    parser = etree.XMLPullParser(
        events=("start", "end"),
        tag=[f"{{*}}{name}" for name in OFFERS],
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    state = _State()
    try:
        for piece in _small(pieces):
            state.begin(piece)
            parser.feed(piece)
            yield from state.take(parser)
        root = parser.close()
    except etree.XMLSyntaxError as error:
        raise state.broken(error) from None
    state.check_doctype(root)
    yield from state.take(parser)


class _State:
    """The part of the file that is not yet an offer."""

    def __init__(self) -> None:
        self._open: Any = None
        self._since = 0  # bytes since the last offer
        self._count = 0
        self._all = 0
        self._began = b""
        self._names: set[str] = set()
        self._dice = random.Random()

    def begin(self, piece: bytes) -> None:
        """Check the bytes before the parser gets them."""
        self._since += len(piece)
        self._all += len(piece)
        if len(self._began) < MOST_BYTES and not self._count:
            before = len(self._began)
            self._began += piece
            if _HTML.match(self._began[:1024]):
                raise BrokenFeed("document", "an XML feed", "an HTML page")
            if any(mark in self._began[max(0, before - 32) :] for mark in _DOCTYPE) and self._open is None:
                raise BrokenFeed("document", "XML without a DOCTYPE", "a DOCTYPE")
        if self._since > MOST_BYTES + 2 * _PIECE:
            raise BrokenFeed(f"offer {self._count + 1}", f"at most {MOST_BYTES} bytes", f"over {MOST_BYTES} bytes")

    def take(self, parser: Any) -> Iterator[OfferElement]:
        for event, element in parser.read_events():
            if event == "start":
                if not self._count and self._open is None:
                    self.check_doctype(element)
                if self._open is None:
                    self._open = element
            elif element is self._open:
                self._open, self._since = None, 0
                self._count += 1
                self._began = b""
                if self._count > MOST_OFFERS:
                    raise BrokenFeed("offers", f"at most {MOST_OFFERS}", "more")
                if self._dice.random() < SAMPLED:
                    self._check_names(element)
                yield _read(element)
                _forget(element)

    def _check_names(self, element: Any) -> None:
        """Raises BrokenFeed for a file of too many names."""
        names = self._names
        for top in (element, *element.itersiblings(preceding=True)):
            for inner in top.iter():
                names.add(inner.tag)
                names.update(inner.attrib.keys(), inner.nsmap.values())
        if len(names) > MOST_NAMES:
            raise BrokenFeed("elements", f"at most {MOST_NAMES} different names", "more")

    def check_doctype(self, element: Any) -> None:
        """Raises BrokenFeed if the document has a DOCTYPE, in whatever encoding."""
        found = element.getroottree().docinfo
        if found.doctype or found.internalDTD is not None:
            raise BrokenFeed("document", "XML without a DOCTYPE", "a DOCTYPE")

    def broken(self, error: etree.XMLSyntaxError) -> BrokenFeed:
        """Returns what is wrong, without the file's own text."""
        if not self._all:
            return BrokenFeed("document", "an XML feed", "an empty file")
        if self._all == len(self._began) and not _BESIDES.sub(b"", self._began):
            return NoRoot("document", "an XML feed", "comments without a root element")
        line, column = error.position
        reason = re.sub(r"[^\x20-\x7e]|'[^']*'|\"[^\"]*\"", "", (error.msg or "").partition(", line")[0])[:120]
        return BrokenFeed("document", "well-formed XML", f"line {line}, column {column}: {reason}")


def _small(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        for start in range(0, len(piece), _PIECE):
            yield piece[start : start + _PIECE]


def _read(element: Any) -> OfferElement:
    found = OfferElement(_local(element.tag), {}, {})
    for name, value in _attributes(element):
        found.first[f"@{name}"] = value
    _flatten(element, "", found, 1)
    return found


def _flatten(element: Any, path: str, found: OfferElement, depth: int) -> None:
    if depth > MOST_DEPTH:
        raise BrokenFeed(path.rstrip("/")[:80], f"at most {MOST_DEPTH} levels", "more")
    first, more = found.first, found.more
    for child in element:
        name = _path(path, child.tag)
        if len(child):
            _flatten(child, name + "/", found, depth + 1)
        elif (text := child.text) is not None:
            if name in first:
                more.setdefault(name, [first[name]]).append(text)
            else:
                first[name] = text
        if name.endswith(_WITH_ATTRIBUTES):
            for attribute, value in _attributes(child):
                at = f"{name}@{attribute}"
                if at in first:
                    more.setdefault(at, [first[at]]).append(value)
                else:
                    first[at] = value


@lru_cache(4_096)
def _path(parent: str, tag: str) -> str:
    return parent + _local(tag)


def _attributes(element: Any) -> list[tuple[str, str]]:
    if len(element.attrib) > MOST_ATTRIBUTES:
        raise BrokenFeed(_local(element.tag), f"at most {MOST_ATTRIBUTES} attributes", len(element.attrib))
    return [(_local(name), value) for name, value in element.attrib.items()]


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _forget(element: Any) -> None:
    """Free the memory of an offer that was read, and of all before it."""
    element.clear()
    parent = element.getparent()
    if parent is None:
        return
    while element.getprevious() is not None:
        del parent[0]
