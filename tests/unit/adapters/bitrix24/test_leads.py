"""Ids in a portal's answers."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.bitrix24.leads import number
from schemas.errors import OutcomeUnknown


@pytest.mark.parametrize("value", [12, "12"])
def test_an_id_is_a_number_or_its_text(value: Any) -> None:
    assert number(value) == 12


@pytest.mark.parametrize("value", ["", None, True, "12a", -1, "١٢", 2**63, "9" * 5_000])
def test_what_names_nothing_leaves_the_outcome_unknown(value: Any) -> None:
    """Also what no receipt can hold: it would end the delivery, and again at its next try."""
    with pytest.raises(OutcomeUnknown):
        number(value)
