"""Commands inside requests: as JSON and back, and what is wrong with one is named."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InvalidInput
from schemas.fields import ExtId, Int, Label, Micros, Money, Text, Texts
from schemas.record import namespace
from schemas.requests import KeyedRequest, command_of, keyed

record = namespace("test_requests")


class Size(Label):
    SMALL = "SMALL", "small"
    LARGE = "LARGE", "large"


@record("tailor.coat.commands", key="ext_id")
class OrderCoat(NamedTuple):
    """A command with a field of each kind."""

    ext_id: ExtId
    command_id: Text = ""
    size: Size | None = None
    buttons: Int | None = None
    price: Money | None = None
    lined: bool | None = None
    due: Micros | None = None
    notes: Texts = ()
    request: Text | None = None


FULL = OrderCoat("c1", "x", Size.LARGE, 2**63 - 1, Decimal("-0.10"), False, 1_700_000_000_000_001, ("a", "ü"), "k")
coats = st.builds(
    OrderCoat, st.text("abc", min_size=1, max_size=9), st.just(""), st.sampled_from([None, *Size]),
    st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
    st.one_of(st.none(), st.integers(-(10**15), 10**15).map(lambda n: Decimal(n).scaleb(-2))),
    st.one_of(st.none(), st.booleans()), st.one_of(st.none(), st.integers(0, 2**52)),
    st.lists(st.text(st.characters(codec="utf-8"), max_size=9), max_size=3).map(tuple), st.none(),
)  # fmt: skip


@given(coats)
def test_a_command_comes_out_as_it_was_put_in(coat: OrderCoat) -> None:
    assert command_of(keyed("k", "c", "f", coat), [OrderCoat]) == coat


def test_id_and_key_are_the_requests_own() -> None:
    request = keyed("k", "c", "f", FULL)
    assert (request.ext_id, request.command_id, request.record) == ("k", "c", "kounter.test_requests.OrderCoat")
    assert command_of(request, [OrderCoat]) == FULL._replace(command_id="", request=None)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ("", "document"), ("{", "document"), ("[1]", "fields"), ("null", "fields"), ("{}", "ext_id"),
        ('{"ext_id": 5}', "ext_id"), ('{"ext_id": ""}', "ext_id"), ('{"ext_id": "a", "size": "HUGE"}', "size"),
        ('{"ext_id": "a", "buttons": 9223372036854775808}', "buttons"), ('{"ext_id": "a", "price": "x"}', "price"),
        ('{"ext_id": "a", "notes": [1]}', "notes.0"), ('{"ext_id": "a", "colour": "red"}', "colour"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(fields: str, field: str) -> None:
    request: Any = KeyedRequest("k", "c", "f", "kounter.test_requests.OrderCoat", fields)
    with pytest.raises(InvalidInput) as error:
        command_of(request, [OrderCoat])
    assert error.value.field == field


def test_a_command_that_may_not_be_asked_for_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"record: expected one of kounter\.test_requests\.OrderCoat, came 'x'"):
        command_of(KeyedRequest("k", "c", "f", "x", "{}"), [OrderCoat])
