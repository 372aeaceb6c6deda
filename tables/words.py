"""The searched form of text: one form for spellings that people treat as the same."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from schemas.errors import InvalidInput

LEAST_CHARACTERS: Final = 3
"""Characters that a word needs to be found by the index, which holds all parts of three."""
MOST_CHARACTERS: Final = 200
"""Characters of a search at most."""
SAME: Final = str.maketrans({"ё": "е", **dict.fromkeys("'`´‘’ʻʼʹ′", "")})
"""Characters that are replaced. Russian is written with е for ё as often as not. The apostrophe of Uzbek (``oʻ``,
``gʻ``) is typed in nine ways, or
left out."""
CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")


def folded(text: str) -> str:
    """Returns the text in lower case and one form of Unicode (NFKC), with one space between its words."""
    same = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).translate(SAME)
    return " ".join(CONTROLS.sub(" ", same).split())


def words_of(name: str, text: str) -> list[str]:
    """Returns the words of a search, each once. Raises InvalidInput, naming the parameter ``name``, for one without
    words or of more than `MOST_CHARACTERS`."""
    if len(text) > MOST_CHARACTERS:
        raise InvalidInput(name, f"at most {MOST_CHARACTERS} characters", f"{len(text)} characters")
    if not (words := list(dict.fromkeys(folded(text).split()))):
        raise InvalidInput(name, "a word or a part of one", text)
    return words
