"""A state's fields and encoding."""

from __future__ import annotations

from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.estate import Lead, Premise
from schemas.record import contracts
from tables import layout as layout_module
from tables.fold import evolve_by
from tables.layout import META, Layout, committed, layout, mask, ordered_fields

PREMISES = layout("estate.premise")


def in_python() -> Layout:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout_module, "native", None)
        return Layout("estate.premise", PREMISES.contracts)


both_forms = pytest.mark.parametrize("of", [PREMISES, in_python()], ids=["as it is installed", "in Python"])
premises = st.fixed_dictionaries(
    {
        "ext_id": st.text(min_size=1, max_size=5),
        "update_id": st.none() | st.integers(-(2**63), 2**63 - 1),
        "price": st.none() | st.decimals(-(10**18), 10**18, places=2),
        "size": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "photos": st.none() | st.lists(st.text(max_size=3), max_size=3).map(tuple),
        "is_sold": st.none() | st.booleans(),
    }
).map(lambda values: Premise(**values))


@both_forms
@given(premise=premises)
def test_a_state_comes_back_as_it_was(of: Layout, premise: Premise) -> None:
    state = evolve_by(of)(None, premise, 1)
    again = of.load(of.dump(state))
    assert again == state
    assert type(again.price) is type(state.price)
    assert of.dump(state) == PREMISES.dump(state)


@both_forms
def test_an_older_state_lacks_its_last_fields(of: Layout) -> None:
    older = orjson.dumps([5, "p1", 3, 2, 99, "name"])
    state = of.load(older)
    assert (state.ext_id, state.update_id, state.version, state.changed_at) == ("p1", 3, 2, 99)
    assert state.price is None


@both_forms
def test_what_only_a_newer_layout_knows_is_kept(of: Layout) -> None:
    state = evolve_by(of)(None, Premise("p1", 1), 1)
    values = orjson.loads(of.dump(state))
    newer = orjson.dumps([values[0] + 2, *values[1:], "from", ["the future"]])
    read = of.load(newer)
    changed = evolve_by(of)(read, Premise("p1", 2, name="new"), 2)
    assert orjson.loads(of.dump(changed))[-2:] == ["from", ["the future"]]


@both_forms
@pytest.mark.parametrize("data", [b"null", b"[]", b"{}", b"7", b"[3, 1"])
def test_what_is_no_state_is_refused(of: Layout, data: bytes) -> None:
    with pytest.raises((ValueError, TypeError, LookupError)):
        of.load(data)


def test_the_committed_order_of_fields_is_that_of_the_classes() -> None:
    """Run `kounter schemas export` after a change of a record class."""
    for aggregate, fields in committed().items():
        assert fields == list(ordered_fields(aggregate, contracts(aggregate)))
    assert committed().keys() >= {"estate.city", "estate.lead", "estate.premise"}


def test_every_state_begins_alike() -> None:
    for aggregate in ("estate.city", "estate.lead", "estate.premise"):
        assert layout(aggregate).fields[: len(META)] == META


def test_an_unknown_aggregate_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="no record class"):
        Layout("estate.nothing", [])


def test_as_dict_leaves_out_what_is_empty() -> None:
    state = evolve_by(layout("estate.lead"))(None, Lead("l1", 1, fee=Decimal("1.50")), 7)
    assert layout("estate.lead").as_dict(state) == {
        "ext_id": "l1",
        "update_id": 1,
        "version": 1,
        "changed_at": 7,
        "fee": Decimal("1.50"),
    }


def test_a_mask_shows_the_last_two_characters() -> None:
    assert mask("+77001234567") == "••••••••67"
