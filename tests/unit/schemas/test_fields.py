"""What a field can hold."""

from __future__ import annotations

import pytest

from schemas.fields import is_id


@pytest.mark.parametrize("text", ["0", "7", "0042", str(2**63 - 1)])
def test_a_number_of_64_bits_is_an_id(text: str) -> None:
    assert is_id(text)


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", " 1", "١", "seven", str(2**63), "9" * 5_000])
def test_what_64_bits_can_not_hold_is_none(text: str) -> None:
    assert not is_id(text)
