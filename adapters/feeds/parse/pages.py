"""Lists of one type's objects in JSON, as a developer's separate interfaces bring them: docs/feeds.md#json."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from adapters.feeds.errors import BrokenFeed
from schemas.errors import InvalidInput
from schemas.external import from_outside, parse_json
from schemas.record import SEQUENCE, UNSET

Row = tuple[Any, ...]
WORDS: Final = ("city", "project", "building", "section", "premise")
"""Types that a list may hold, parents first."""
MOST_BYTES: Final = 8 << 20
"""Bytes of one page, which is read whole."""
_PLURALS: Final = {"cities": "city", **{f"{word}s": word for word in WORDS if word != "city"}}
_LINKS: Final = ("ext_id", *(f"{word}_ext_id" for word in WORDS))


class Page(NamedTuple):
    """One page: the type of its objects, the objects, and the address of the next page, empty on the last."""

    word: str
    objects: list[Any]
    next: str


def read_page(raw: bytes, hint: str) -> Page:
    """Returns a page. ``hint``: the type in the address, for lists that name none. Raises BrokenFeed."""
    try:
        found = parse_json(raw, max_bytes=MOST_BYTES)
    except InvalidInput as error:
        raise BrokenFeed(error.field, error.expected, error.came.strip("'")) from None
    inner, word, following = found, hint, ""
    for _ in range(2):  # {"data": {"type", "data": […]}, "error": null}, or without the outer object
        if not isinstance(inner, dict):
            break
        if inner.get("error") is not None:
            raise BrokenFeed("error", "null", inner["error"])
        word = inner.get("type", word)
        following = inner.get("next") or following
        inner = inner.get("data")
    if not isinstance(inner, list):
        raise BrokenFeed("data", "a list of objects", type(inner).__name__)
    if word not in WORDS:
        raise BrokenFeed("type", "one of " + ", ".join(WORDS), word or "nothing")
    if not isinstance(following, str):
        raise BrokenFeed("next", "an address or null", following)
    return Page(word, inner, following)


def type_in(address: str) -> str:
    """Returns the type that the path of an address names, such as ``…/api/projects``; empty if it names none."""
    words = re.findall(r"[a-z]+", address.partition("?")[0].lower())
    return next((_PLURALS.get(word, word) for word in reversed(words) if word in _PLURALS or word in WORDS), "")


def row_of(word: str, data: Any, prefix: str) -> Row:
    """Returns the row of an object, its ids prefixed, without number and nulls. Raises InvalidInput."""
    if not isinstance(data, dict):
        raise InvalidInput("data", "an object", data)
    said = {name: value for name, value in data.items() if value is not None and name != SEQUENCE}
    said |= {name: f"{prefix}{said[name]}" for name in _LINKS if _is_id(said.get(name))}
    row: Row = from_outside(word, said)._replace(**{UNSET: ()})  # type: ignore[attr-defined]
    return row


def id_of(data: Any, prefix: str) -> str:
    """Returns the prefixed id of an object, empty if it has none."""
    found = data.get("ext_id") if isinstance(data, dict) else None
    return f"{prefix}{found}" if _is_id(found) else ""


def _is_id(value: Any) -> bool:
    """Returns whether a value is a text or a whole number, as ids are."""
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""


def objects(pages: Iterator[bytes], hint: str) -> Iterator[tuple[str, Any]]:
    """Returns type and object of each object on all pages. Raises BrokenFeed."""
    known = ""
    for raw in pages:
        page = read_page(raw, hint)
        if known and page.word != known:
            raise BrokenFeed("type", f"{known}, as on the pages before", page.word)
        known = page.word
        for data in page.objects:
            yield page.word, data
