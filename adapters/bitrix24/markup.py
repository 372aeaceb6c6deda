"""Texts to and from a portal: markup of people becomes plain text, and foreign texts never become markup.

A portal reads a comment as BBCode, turns some HTML and every bare address into links, and keeps ``&#91;`` and ``&#93;``
as the only way to write a bracket that is not its own. It keeps an emoji as ``:f09f9880:`` and quotes as entities
(docs/contracts/bitrix24.md#comments).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from html import unescape
from typing import Final, NamedTuple

TITLE, NAME, PHONE = 255, 50, 250
"""Characters that these columns hold; a portal silently cuts longer texts (its own database schema)."""
COLUMN: Final = 255
"""Characters that a text column of the portal holds [inferred from its database schema]; it cuts longer texts."""
TEXT_BYTES: Final = 65_535
"""Bytes that a TEXT column of MySQL holds; it silently cuts longer texts."""
EMOJI_WIDTH: Final = 10
"""Characters that a portal needs for a character of four bytes: it keeps ``:f09f9880:``."""
_GAP: Final = "\u200b"
"""An invisible character; behind a bracket it keeps a tag from being one."""
_BLOCKS: Final = "p br div hr li tr table list ul ol quote blockquote code pre h1 h2 h3 h4 h5 h6"
_BREAKS: Final = frozenset(_BLOCKS.split())
_INLINE: Final = """
    a b i u s em strong del ins strike sub sup small big span font size color url email user project department img
    video disk document file left right center justify align spoiler cut td th tbody thead nomodify nosmile chat context
    send put call pch icon attach"""
_KNOWN: Final = _BREAKS | {"*"} | frozenset(_INLINE.split())
_ATTRIBUTES: Final = r"(?:[\s=](?:[^\[\]]|\[[^\[\]]*\]){0,2000})?"
_MARKUP: Final = re.compile(
    rf"\[(?P<end>/?)(?P<tag>\*|[a-z][a-z0-9]{{0,11}})(?P<of>{_ATTRIBUTES})\]"
    r"|<(?P<html_end>/?)(?P<html>[a-z][a-z0-9]{0,11})(?P<html_of>(?:\s[^<>]{0,2000})?)/?>",
    re.IGNORECASE,
)
_TARGET: Final = re.compile(r"""\b(?:href|src)\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)
_CODE_END: Final = re.compile(r"\[/code\]|</code>", re.IGNORECASE)
_EMOJI: Final = re.compile(r":(f[0-4][0-9a-f]{6}):", re.IGNORECASE)
_LINE_ENDS: Final = re.compile("\r\n?|[\u2028\u2029\x0b\x0c\x85]")
_UNSEEN: Final = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""Control characters, changes of the text direction, halves of characters."""
_JOINTS: Final = re.compile("[\u200b\u2060]")
_MANY_BREAKS: Final = re.compile(r"\n{3,}")
_COMMENT: Final = re.compile(r"[\[\]<>]|&(?=[#a-z])|://|(?<=www)\.|:(?=f[0-4][0-9a-f]{6}:)", re.IGNORECASE)
_ENTITIES: Final = {
    "[": "&#91;", "]": "&#93;", "<": "&lt;", ">": "&gt;", "&": "&amp;",
    "://": ":&#47;&#47;", ".": "&#46;", ":": "&#58;",
}  # fmt: skip
_IN_CARD: Final = {
    "[": "&#91;", "]": "&#93;", "<": "‹", ">": "›", "&": f"&{_GAP}",
    "://": f":{_GAP}//", ".": f".{_GAP}", ":": f":{_GAP}",
}  # fmt: skip
"""Replacements for a card's comment, which loses anything like HTML and shows other entities as they are."""
_LINE: Final = re.compile(r"[\[<](?=[/*a-z!])|://|(?<=www)\.|:(?=f[0-4][0-9a-f]{6}:)", re.IGNORECASE)


class _Link(NamedTuple):
    """An open link."""

    target: str
    begin: int
    """Index of the piece where its text begins."""


def plain(text: str) -> str:
    """Return a portal's text as a person reads it: without tags, paragraphs as lines, entities and emoji decoded.

    A link keeps its address behind its text. Brackets that are not a tag of a portal stay.
    """
    read = _EMOJI.sub(_emoji, "".join(_pieces(text)))
    read = _JOINTS.sub("", clean(unescape(read).replace("\xa0", " ")))
    return _MANY_BREAKS.sub("\n\n", "\n".join(map(str.strip, read.split("\n")))).strip()


def clean(text: str) -> str:
    """Return a text without invisible characters and changes of direction; every end of a line is a line feed."""
    return _UNSEEN.sub("", _LINE_ENDS.sub("\n", text))


def as_comment(text: str, room: int = 0) -> str:
    """Return a foreign text for a timeline, which shows it as it is, cut so that ``room`` bytes of its column stay
    free."""
    return _fitted(clean(text), lambda part: _COMMENT.sub(lambda found: _escaped(_ENTITIES, found), part), room)


def as_card_comment(text: str) -> str:
    """Return a foreign text for a card's own comment, which shows it as it is, cut to its column."""
    return _fitted(clean(text), lambda part: _COMMENT.sub(lambda found: _escaped(_IN_CARD, found), part), 0)


def as_line(text: str, most: int) -> str:
    """Return a foreign text for a title, a name or a phone, cut to ``most`` characters. The portal shows these as they
    are, but quotes them in messages that it reads as BBCode."""
    line = " ".join(clean(text).split())
    return cut(_LINE.sub(lambda found: found[0][0] + _GAP + found[0][1:], line), most)


def cut(text: str, most: int) -> str:
    """Return as many whole characters as a column of ``most`` holds: no accent, joined emoji or code is cut in two."""
    size = 0
    for n, character in enumerate(text):
        size += EMOJI_WIDTH if character > "\uffff" else 1
        if size > most:
            return _whole(text, n)
    return text


def _pieces(text: str) -> list[str]:
    pieces: list[str] = []
    link: _Link | None = None
    at, code_ends = 0, True
    while (found := _MARKUP.search(text, at)) is not None:
        tag = (found["tag"] or found["html"]).lower()
        if tag not in _KNOWN:
            pieces.append(text[at : found.end()])
            at = found.end()
            continue
        pieces.append(text[at : found.start()])
        at = found.end()
        ends = bool(found["end"] or found["html_end"])
        if tag in ("url", "a"):
            _end(pieces, link)
            link = None if ends else _Link(_target(found), len(pieces))
        elif tag == "code" and not ends and code_ends:
            pieces.append("\n")
            if code_ends := (end := _CODE_END.search(text, at)) is not None:
                pieces += [text[at : end.start()], "\n"]
                at = end.end()
        else:
            pieces.append(_between(tag, found, ends))
    pieces.append(text[at:])
    _end(pieces, link)
    return pieces


def _between(tag: str, found: re.Match[str], ends: bool) -> str:
    """Return the text that replaces a tag."""
    if tag in _BREAKS:
        return "\n- " if tag == "li" and not ends else "\n"
    if tag == "*":
        return "\n- "
    if tag in ("td", "th"):
        return " "
    return _target(found) if tag == "img" and found["html"] else ""


def _end(pieces: list[str], link: _Link | None) -> None:
    """End a link, which keeps its address unless its text shows it."""
    if link is not None and link.target:
        shown = "".join(pieces[link.begin :]).strip()
        if unescape(link.target) not in unescape(shown):
            pieces.append(f" ({link.target})" if shown else link.target)


def _target(found: re.Match[str]) -> str:
    if found["tag"]:
        return found["of"].strip().removeprefix("=").strip().strip("\"'")
    address = _TARGET.search(found["html_of"] or "")
    return address[1] if address else ""


def _emoji(found: re.Match[str]) -> str:
    try:
        return bytes.fromhex(found[1]).decode()
    except UnicodeDecodeError:
        return found[0]


def _escaped(written: dict[str, str], found: re.Match[str]) -> str:
    return written[found[0]]


def _fitted(text: str, written: Callable[[str], str], room: int) -> str:
    most = TEXT_BYTES - room
    if _bytes(whole := written(text)) <= most:
        return whole
    low, high = 0, min(len(text), most)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _bytes(written(text[:middle])) <= most - 3 else (low, middle - 1)
    return written(_whole(text, low)) + "…"


def _bytes(text: str) -> int:
    """Return the bytes of a text in a portal's database."""
    return len(text.encode()) + (EMOJI_WIDTH - 4) * sum(character > "\uffff" for character in text)


def _whole(text: str, end: int) -> str:
    """Return a text up to ``end``, or less where a composed character goes beyond it."""
    while 0 < end < len(text) and (_joins(text[end]) or text[end - 1] == "\u200d"):
        end -= 1
    return text[:end].rstrip()


def _joins(character: str) -> bool:
    return character in "\u200b\u200d" or unicodedata.combining(character) != 0 or "\ufe00" <= character <= "\ufe0f"
