"""Texts between people in a portal and those outside: plain words in, no markup of theirs out."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.bitrix24.markup import NAME, TEXT_BYTES, as_card_comment, as_comment, as_line, clean, cut, plain
from adapters.bitrix24.twin.texts import card_comment, column, encoded

CHARACTERS = st.sampled_from("[]<>&;:/#*= \n.,aBu1w9рЁ😀\u0301\u200d\u202e") | st.characters()
WORDS = st.text(CHARACTERS, max_size=60) | st.lists(
    st.sampled_from(
        ["[B]", "[/B]", "[URL=https://a.ru]", "[/url]", "<b>", "</p>", "&#91;", "&amp;", "&lt;", "http://", "www.",
         ":f09f9880:", "[USER=1]", "Иван", " ", "[", "]", "&", "[code]", "[*]"]
    ), max_size=8,
).map("".join)  # fmt: skip
LIVE = re.compile(r"[\[<](?=[/*a-z])|://|www\.[._:a-z0-9@-]|:f[0-4][0-9a-f]{6}:", re.IGNORECASE)
"""What a portal would make more of than what is read."""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[B]// Едем[/B]", "// Едем"),
        ("// Мастер &quot;Пётр&quot; придёт [B]завтра[/B]", '// Мастер "Пётр" придёт завтра'),
        ("[p]\n// Едем\n[/p]\n[P]Ждите[/P]", "// Едем\n\nЖдите"),
        ("[P][B][I]// Едем[/B][/I]", "// Едем"),
        ("[BR]// раз[br]два<br />три", "// раз\nдва\nтри"),
        ("<p>// <strong>Едем</strong></p><div>Ждите</div>", "// Едем\n\nЖдите"),
        ("[COLOR=#ff0000][SIZE=12pt]// Едем[/SIZE][/COLOR]", "// Едем"),
        ("// [URL=https://a.ru/?x=1&amp;y[]=2]тут[/URL]", "// тут (https://a.ru/?x=1&y[]=2)"),
        ("// [URL]https://a.ru[/URL], <a href='https://b.ru'>там</a>", "// https://a.ru, там (https://b.ru)"),
        ("// [URL=https://a.ru]https://a.ru[/URL] [url=c.ru]", "// https://a.ru c.ru"),
        ("[USER=12]Иван[/USER] // нет", "Иван // нет"),
        ("// фото [DISK FILE ID=n41] [IMG width=1]https://a.ru/b.png[/IMG]", "// фото  https://a.ru/b.png"),
        ("[LIST=1][*]раз[*]два[/LIST]", "- раз\n- два"),
        ("[QUOTE]цитата[/QUOTE]ответ", "цитата\nответ"),
        ("[CODE]a[B]b[/B] &lt;c&gt;[/CODE]", "a[B]b[/B] <c>"),
        ("[CODE]a[B]b", "ab"),
        ("[TABLE][TR][TD]a[/TD][TD]b[/TD][/TR][/TABLE]", "a  b"),
        ("&#91;B&#93;x&#91;/B&#93; &amp;lt; &nbsp;y", "[B]x[/B] &lt;  y"),
        ("// :f09f9880: :ffffffff: 10:f0:20", "// 😀 :ffffffff: 10:f0:20"),
        ("[срочно] [1] [12:30] a < b <3 [foo]", "[срочно] [1] [12:30] a < b <3 [foo]"),
        ("a\u200bb\u202ec\r\nd", "abc\nd"),
    ],
)  # fmt: skip
def test_what_a_person_wrote_is_plain_words(text: str, words: str) -> None:
    assert plain(text) == words


@given(WORDS)
def test_an_outsiders_comment_is_read_as_it_was_said_and_is_no_markup(text: str) -> None:
    written = as_comment(text)
    assert not LIVE.search(written)
    assert plain(written) == "\n".join(line.strip() for line in re.sub("[\u200b\u2060]", "", said(text)).split("\n"))


def said(text: str) -> str:
    """Apart from spaces and what nobody sees."""
    lines = "\n".join(
        line.strip() for line in re.sub("[\u200b\u2060]", "", clean(text)).replace("\xa0", " ").split("\n")
    )
    return re.sub(r"\n{3,}", "\n\n", lines).strip()


@given(WORDS)
def test_a_card_is_read_the_same_however_the_portal_keeps_it(text: str) -> None:
    """Or an audit would find a difference for ever."""
    assert plain(card_comment(as_card_comment(text))) == plain(as_card_comment(text))
    assert plain(column("TITLE", as_line(text, 255))) == plain(as_line(text, 255))
    assert plain(column("NAME", as_line(text, NAME))) == plain(as_line(text, NAME))
    assert not LIVE.search(as_line(text, 255))
    assert not LIVE.search(card_comment(as_card_comment(text)))


@given(WORDS, st.integers(0, 30))
def test_a_line_fits_its_column_whatever_it_is_kept_as(text: str, most: int) -> None:
    assert len(encoded(cut(text, most))) <= most
    assert text.startswith(cut(text, most))


def test_no_character_is_cut_in_two() -> None:
    assert cut("x" * 49 + "😀", 50) == "x" * 49
    assert cut("ё" * 51, 50) == "ё" * 50
    assert cut("x" * 49 + "и\u0306", 50) == "x" * 49
    family = "👨\u200d👩\u200d👧"
    assert cut("x" * 20 + family, 45) == "x" * 20


@pytest.mark.parametrize("text", ["ы" * 65_536, "[" * 65_536, "😀" * 65_536, "&#" * 32_768])
def test_a_long_comment_leaves_room_for_what_it_is_found_by(text: str) -> None:
    written = as_comment(text, room=40)
    assert len(encoded(written).encode()) <= TEXT_BYTES - 40
    assert plain(written).endswith("…")
    assert len(encoded(as_card_comment(text)).encode()) <= TEXT_BYTES


@pytest.mark.parametrize(
    "text", ["[b " * 20_000, "[url=x]" * 9_000, "[code]" * 10_000, "a" + " " * 65_000, "[b=[]" * 13_000]
)
def test_no_text_takes_long(text: str) -> None:
    """Time that grows with the square of the length would exceed the CPU limit of a unit test (tests/conftest.py)."""
    plain(text)
    as_comment(text)
