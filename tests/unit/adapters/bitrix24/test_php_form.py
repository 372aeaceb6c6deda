"""PHP's form notation, both ways."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.bitrix24.rest.php_form import MAX_FIELDS, as_php, format_brackets, parse_brackets

names = st.text(st.characters(exclude_characters="[]", exclude_categories=["Cs"]), min_size=1, max_size=8)
values = st.recursive(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(names, inner, min_size=1, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(names, values, max_size=4))
def test_what_is_formatted_is_read_back(form: dict[str, Any]) -> None:
    expected = {name: as_php(value) for name, value in form.items()}
    assert parse_brackets(format_brackets(form)) == {n: _normal(v) for n, v in expected.items()}


def _normal(value: Any) -> Any:
    """Lists inside maps and maps that PHP takes for lists."""
    if isinstance(value, list):
        return [_normal(v) for v in value]
    return as_php({k: _normal(v) for k, v in value.items()}) if isinstance(value, dict) else value


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("", {}),
        ("a=1&a=2", {"a": "2"}),
        ("a[]=1&a[]=2", {"a": ["1", "2"]}),
        ("a[1]=x&a[0]=y", {"a": {"1": "x", "0": "y"}}),
        ("a[b]=1&a[b][c]=2", {"a": {"b": {"c": "2"}}}),
        ("a[b][c]=1&a[b]=2", {"a": {"b": "2"}}),
        ("[x]=1&a]=2&=3", {}),
        ("%D0%B0[%D0%B1]=%2B7", {"а": {"б": "+7"}}),
        ("a", {"a": ""}),
        ("a[5]=x&a[]=y", {"a": {"5": "x", "6": "y"}}),
        ("a[]=x&a[b]=y&a[]=z", {"a": {"0": "x", "b": "y", "1": "z"}}),
        ("a[][x]=1&a[][x]=2", {"a": [{"x": "1"}, {"x": "2"}]}),
        ("a[" + "9" * 5_000 + "]=x&a[]=y", {"a": {"9" * 5_000: "x", "0": "y"}}),
    ],
)
def test_forms(text: str, form: dict[str, Any]) -> None:
    assert parse_brackets(text) == form


@pytest.mark.parametrize("text", ["a" + "[b]" * 20 + "=1", "&".join(f"a{n}=1" for n in range(MAX_FIELDS + 1))])
def test_what_is_too_deep_or_long_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"deep|fields"):
        parse_brackets(text)


def test_many_empty_brackets_take_no_time() -> None:
    """Whoever reaches the webhook can send them, without its token; the CPU limit of a unit test would be exceeded."""
    assert parse_brackets("&".join(["a[]="] * MAX_FIELDS)) == {"a": [""] * MAX_FIELDS}


@given(st.text(max_size=60))
def test_any_text_is_a_form_or_refused(text: str) -> None:
    try:
        parse_brackets(text)
    except ValueError:
        return
