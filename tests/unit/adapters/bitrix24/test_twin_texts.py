"""How the twin keeps texts, as a portal does."""

from __future__ import annotations

import pytest

from adapters.bitrix24.twin.texts import column, cut, encoded, typed


@pytest.mark.parametrize(("name", "length"), [("NAME", 50), ("LAST_NAME", 50), ("TITLE", 255), ("PHONE", 250)])
def test_what_is_longer_than_its_column_is_cut_without_a_word(name: str, length: int) -> None:
    assert column(name, "ы" * 300) == "ы" * length
    assert column(name, "x" * (length - 5) + "😀😀") == "x" * (length - 5) + ":f09f", "kept as codes"


def test_a_long_text_is_cut_by_bytes() -> None:
    assert column("COMMENTS", "ы" * 40_000) == "ы" * 32_767
    assert cut("COMMENT", encoded("😀" * 10_000)).endswith(":f09f")


@pytest.mark.parametrize(
    ("came", "kept"),
    [
        ("a <b>b</b><br>c", "a [b]b[/b]\nc"),
        ('"x" & <script>y</script>', "&quot;x&quot; &amp; y"),
        ("&lt;i&gt;x&lt;/i&gt;", "x"),
        ("[B]x[/B] [USER=1]y[/USER] [кв 5]", "[B]x[/B] y "),
        ("&#91;USER=1&#93;x", "&#91;USER=1&#93;x"),
        ("<a href='https://a.ru'>x</a>", "[url=https://a.ru]x[/url]"),
        ("a < b, :f09f9880:", "a &lt; b, 😀"),
    ],
)
def test_a_cards_comment(came: str, kept: str) -> None:
    assert column("COMMENTS", came) == kept
    assert column("TITLE", came) == came.replace(":f09f9880:", "😀"), "which a title is not"


def test_what_a_person_types_has_entities() -> None:
    assert typed('// "Пётр" <x> &amp; & [B]y[/B]') == "// &quot;Пётр&quot; &lt;x&gt; &amp; &amp; [B]y[/B]"
