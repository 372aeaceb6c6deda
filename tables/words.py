"""Text as it is searched: one form for the spellings that people take for the same."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from schemas.errors import InvalidInput

LEAST: Final = 3
"""Characters of a word that the index finds: it is made of all parts of three."""
MOST_CHARACTERS: Final = 200
"""Characters of a question; more are no search."""
SAME: Final = str.maketrans({"ё": "е", **dict.fromkeys("'`´‘’ʻʼʹ′", "")})
"""Russian is written with е for ё as often as not. The apostrophe of Uzbek (``oʻ``, ``gʻ``) is typed in nine ways, or
left out."""
CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")


def folded(text: str) -> str:
    """The text in lower case and one form of Unicode (NFKC), with one space between its words."""
    same = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).translate(SAME)
    return " ".join(CONTROLS.sub(" ", same).split())


def words_of(name: str, text: str) -> list[str]:
    """The words of a question, each once. Raises InvalidInput, naming the parameter ``name``, for one without words or
    of more than `MOST_CHARACTERS`."""
    if len(text) > MOST_CHARACTERS:
        raise InvalidInput(name, f"at most {MOST_CHARACTERS} characters", f"{len(text)} characters")
    if not (words := list(dict.fromkeys(folded(text).split()))):
        raise InvalidInput(name, "a word or a part of one", text)
    return words
