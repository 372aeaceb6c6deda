"""Texts as a portal keeps them: column lengths, markup and HTML of a card's comment, emoji as codes.

A text that is longer than its column is silently cut, as by MySQL in the portal's mode.
Source: the portal's own code, which is public.
"""

from __future__ import annotations

import re
from html import escape
from typing import Final

TEXT_BYTES: Final = 65_535
COLUMN: Final = 255
LENGTHS: Final = {
    "NAME": 50,
    "SECOND_NAME": 50,
    "LAST_NAME": 50,
    "STATUS_ID": 50,
    "SOURCE_ID": 50,
    "CURRENCY_ID": 50,
    "HONORIFIC": 128,
    "PHONE": 250,
    "EMAIL": 250,
    "WEB": 250,
    "IM": 250,
    "LINK": 250,
    "VALUE_TYPE": 50,
}
"""Characters by column; others hold `COLUMN`."""
LONG: Final = frozenset({"COMMENTS", "SOURCE_DESCRIPTION", "STATUS_DESCRIPTION", "ADDRESS", "COMMENT"})
"""TEXT columns, which hold `TEXT_BYTES`."""
_ASTRAL: Final = re.compile("[\U00010000-\U0010ffff]")
_CODE: Final = re.compile(r":(f[0-4][0-9a-f]{6}):", re.IGNORECASE)
_STRONG: Final = re.compile(r"<(/?)([bius])(?:\s[^>]*)?>", re.IGNORECASE)
_ANCHOR: Final = re.compile(r"""<a\s[^>]*href\s*=\s*["']?([^"'\s>]+)[^>]*>(.*?)</a>""", re.IGNORECASE | re.DOTALL)
_BREAK: Final = re.compile(r"<(?:br\s*/?|/p|/div)>", re.IGNORECASE)
_TAG: Final = re.compile(r"<[^\s>][^>]*>?")
_FOREIGN: Final = re.compile(r"\[/?(?!(?:b|i|u|s|list|img|url)\b)\w+\b[^\]]*\]", re.IGNORECASE)
_ENTITY: Final = re.compile(r"&(?!(?:#\d+|\w+);)")


def column(name: str, text: str) -> str:
    """Return a text as the portal answers it from a column."""
    kept = encoded(card_comment(text) if name == "COMMENTS" else text)
    return decoded(cut(name, kept))


def cut(name: str, text: str) -> str:
    """Return a text cut to the column's length."""
    if name in LONG:
        return text.encode("utf-8", "replace")[:TEXT_BYTES].decode("utf-8", "ignore")
    return text[: LENGTHS.get(name, COLUMN)]


def card_comment(text: str) -> str:
    """Return a card's own comment: some HTML becomes BBCode, other tags and mentions go; the rest stays as it is."""
    text = _ANCHOR.sub(r"[url=\1]\2[/url]", text.replace("&#39;", "'"))
    text = _BREAK.sub("\n", _STRONG.sub(r"[\1\2]", text))
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        text = text.replace(entity, character)
    text = _FOREIGN.sub("", escape(_TAG.sub("", text)).replace("&#x27;", "'"))
    return text.replace("&amp;#91;", "&#91;").replace("&amp;#93;", "&#93;")


def typed(text: str) -> str:
    """Return a person's text as the portal's editor writes it into a timeline: BBCode with entities."""
    return _ENTITY.sub("&amp;", text).replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def encoded(text: str) -> str:
    """Return a text with emoji as codes."""
    return _ASTRAL.sub(lambda found: f":{found[0].encode().hex()}:", text)


def decoded(text: str) -> str:
    """Return a text with codes as emoji."""
    return _CODE.sub(_character, text)


def _character(found: re.Match[str]) -> str:
    try:
        return bytes.fromhex(found[1]).decode()
    except UnicodeDecodeError:
        return found[0]
