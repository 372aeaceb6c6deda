"""Values that Avro can't hold are refused by field, in C and in Python; the others are written as topics carry them."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from schemas.bitrix24 import CardAction, CardCommand
from schemas.codec import decoding, encoding
from schemas.codec.avro import avro_schema
from schemas.codec.compiled import native
from schemas.codec.decoding import row_decoder
from schemas.codec.encoding import row_encoder
from schemas.errors import InvalidInput
from schemas.record import Contract, contract
from tests.support.known_lead import Lead
from tests.support.values import HEADER


@pytest.fixture(scope="module", params=["C", "Python"], autouse=True)
def form(request: pytest.FixtureRequest) -> Iterator[None]:
    """All of it twice."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "Python":
            patch.setattr(decoding, "native", None)
            patch.setattr(encoding, "native", None)
        elif native is None:
            pytest.skip("no compiler was at hand")
        yield


def read(of: Contract, value: bytes) -> Any:
    return row_decoder(avro_schema(of), of)(HEADER + value)


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (Lead("l", update_id=2**63), "update_id"),
        (Lead("l", fee=Decimal(10) ** 19), "fee"),
        (Lead("l", fee=Decimal("NaN")), "fee"),
        (Lead("l", fee=Decimal("1e999999")), "fee"),
        (Lead("l", fee=1.5), "fee"),  # type: ignore[arg-type]
        (Lead("l", state="GONE"), "state"),  # type: ignore[arg-type]
        (Lead("l", client_ext_id="\ud800"), "client_ext_id"),
        (Lead(None), "ext_id"),  # type: ignore[arg-type]
        (Lead("l", unset="fee"), "unset"),  # type: ignore[arg-type]
    ],
)
def test_what_avro_cannot_hold_is_refused_by_field(row: Lead, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        row_encoder(contract(Lead))(row)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (Lead("l", fee="12"), "fee: expected decimal(21, 2) or None, came '12'"),  # type: ignore[arg-type]
        (Lead("l", state="GONE"), "state: expected one of UNKNOWN, ACTIVE, IN_PROGRESS, FAILED, COMPLETE or None"),  # type: ignore[arg-type]
        (Lead("l", update_id=2**63), "update_id: expected long or None (beyond 64 bits)"),
        (Lead("l", unset="fee"), "unset: expected array of string, came 'fee'"),  # type: ignore[arg-type]
    ],
)
def test_what_was_expected_is_told_in_avros_words_not_pythons(row: Lead, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        row_encoder(contract(Lead))(row)
    assert caught.value.message.startswith(said)


def test_money_is_rounded_to_its_scale_half_to_even() -> None:
    for said, kept in (("1.005", "1.00"), ("1.015", "1.02"), ("-0.005", "0.00"), ("1e3", "1000.00")):
        row = read(contract(Lead), row_encoder(contract(Lead))(Lead("l", fee=Decimal(said))))
        assert str(row[contract(Lead).fields.index("fee")]) == kept


def test_words_are_written_as_their_symbols() -> None:
    of = contract(CardCommand)
    row = read(of, row_encoder(of)(CardCommand("l", action=CardAction.MOVE_CARD)))
    assert row == CardCommand("l", action=CardAction.MOVE_CARD)
    assert type(row[of.fields.index("action")]) is str
