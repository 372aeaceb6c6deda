"""The items of a feed file of any format: rows, refused offers, and offers without an id."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from adapters.feeds.errors import BrokenFeed
from adapters.feeds.parse import avito, cian, yrl
from adapters.feeds.parse.content import Content
from adapters.feeds.parse.elements import OfferElement, offers
from adapters.feeds.parse.offer import Offer, premise
from adapters.feeds.parse.pages import id_of, objects, row_of
from adapters.feeds.parse.place import Parents
from adapters.feeds.settings import Format
from schemas.errors import InvalidInput
from schemas.estate import City, Premise
from schemas.record import contracts

Row = tuple[Any, ...]


class _Kind(NamedTuple):
    format: Format
    id: str
    read: Callable[[OfferElement], Offer]


_KINDS: Final = {
    "offer": _Kind("yrl", "@internal-id", yrl.read),
    "object": _Kind("cian", "ExternalId", cian.read),
    "Ad": _Kind("avito", "Id", avito.read),
}
_TYPES: Final = {c.outside: c.record for c in contracts(None) if c.record.__module__ == City.__module__}


class Item(NamedTuple):
    """One offer or object: its type and id (empty if it has none), and its row or the reason why there is none."""

    record: type[Row]
    ext_id: str
    row: Row | None
    error: InvalidInput | None = None


def items(content: Content, format: Format, prefix: str, parents: Parents) -> Iterator[Item]:
    """Returns the items of a file, and notes their places in ``parents``. Raises BrokenFeed where it breaks, so use
    none before the end."""
    if content.is_json():
        if format not in ("auto", "json"):
            raise BrokenFeed("document", f"XML ({format})", "JSON")
        for word, data in objects(content.pages(), content.hint):
            yield _object(word, data, prefix)
        return
    if format == "json":
        raise BrokenFeed("document", "JSON", "XML or another text")
    for element in offers(content.pieces()):
        kind = _KINDS[element.kind]
        if format not in ("auto", kind.format):
            raise BrokenFeed("format", f"offers of {format}", f"one of {kind.format}")
        yield _offer(element, kind, prefix, parents)


def _offer(element: OfferElement, kind: _Kind, prefix: str, parents: Parents) -> Item:
    found = element.first.get(kind.id, "").strip()
    if not found:
        return Item(Premise, "", None)
    key = prefix + found
    try:
        offer = kind.read(element)
        return Item(Premise, key, premise(key, offer, parents.note(offer.place, key)))
    except BrokenFeed:
        raise
    except InvalidInput as error:
        return Item(Premise, key, None, error)


def _object(word: str, data: Any, prefix: str) -> Item:
    record, key = _TYPES[word], id_of(data, prefix)
    if not key:
        return Item(record, "", None)
    try:
        return Item(record, key, row_of(word, data, prefix))
    except InvalidInput as error:
        return Item(record, key, None, error)
