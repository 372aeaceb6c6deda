"""The laws of the default fold."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.bitrix24 import CardReceipt
from schemas.estate import Lead, LeadOp, LeadStatus, Premise
from schemas.record import contract
from tables import fold as fold_module
from tables.fold import Evolve, evolve_by, evolve_whole, is_stale
from tables.layout import State, layout

LEADS = layout("estate.lead")
evolve = evolve_by(LEADS)


def rows(cls: Any, **fields: Any) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(fields).map(lambda values: cls(**values))


maybe_text = st.none() | st.text(min_size=1, max_size=5)
numbers = st.none() | st.integers(1, 30)
unset = st.lists(st.sampled_from(["fee", "status", "ext_id", "version", "no_such_field"]), max_size=2).map(tuple)
leads = rows(
    Lead,
    ext_id=st.just("l1"),
    update_id=numbers,
    client_ext_id=maybe_text,
    fee=st.none() | st.decimals(0, 10**9, places=2),
    state=st.sampled_from([None, "ACTIVE", "FAILED"]),
    unset=unset,
)
ops = rows(LeadOp, lead_ext_id=st.just("l1"), update_id=numbers, status=st.sampled_from([None, *LeadStatus]))
receipts = rows(CardReceipt, ext_id=st.just("l1"), bitrix_lead_id=st.none() | st.integers(1, 5))
events = st.lists(leads | ops | receipts, max_size=12)


def fold(history: list[Any], state: State | None = None, start: int = 0) -> State | None:
    for at, event in enumerate(history, start=start):
        state = evolve(state, event, at)
    return state


def in_python() -> Evolve:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fold_module, "native", None)
        return evolve_by(LEADS)


@pytest.mark.parametrize("fast", [evolve, in_python()], ids=["as it is installed", "in Python"])
@given(history=events)
def test_the_fast_merge_is_the_whole_one(fast: Evolve, history: list[Any]) -> None:
    state, whole = None, evolve_whole(LEADS)
    for at, event in enumerate(history):
        expected = whole(state, event, at)
        found = fast(state, event, at)
        assert (found, found is state, type(found)) == (expected, expected is state, type(expected))
        state = found


@pytest.mark.parametrize("native", [fold_module.native, None], ids=["as it is installed", "in Python"])
def test_each_numbered_kind_is_folded_the_fast_way(native: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that creates nothing, over what is there."""
    monkeypatch.setattr(fold_module, "native", native)
    known = evolve(None, Lead("l1", 1), 0)
    waiting = evolve(None, LeadOp("l1", 1), 0)
    for kind, event in ((Lead, Lead("l1", 2)), (LeadOp, LeadOp("l1", 2))):
        of = contract(kind)
        plan = fold_module._plan(LEADS, of)
        merge = fold_module._merge(LEADS, plan, len(of.fields), lambda *_: "whole")  # type: ignore[arg-type,return-value]
        assert merge(known, event, 5) == evolve_whole(LEADS)(known, event, 5)
        assert (kind is Lead) == (merge(waiting, event, 5) != "whole")  # type: ignore[comparison-overlap]


@given(events)
def test_a_record_that_comes_again_at_once_changes_nothing(history: list[Any]) -> None:
    state = None
    for at, event in enumerate(history):
        once = evolve(state, event, at)
        assert evolve(once, event, at + 1) is once
        state = once


@given(events.map(lambda e: [x for x in e if getattr(x, "update_id", None) is not None]))
def test_a_numbered_history_that_comes_again_whole_changes_nothing(history: list[Any]) -> None:
    assert fold(history + history) == fold(history)


@given(events, st.integers(0, 12))
def test_snapshot_and_tail_equal_the_full_replay(history: list[Any], cut: int) -> None:
    snapshot = fold(history[:cut])
    kept = None if snapshot is None else LEADS.load(LEADS.dump(snapshot))
    assert fold(history[cut:], kept, start=min(cut, len(history))) == fold(history)


@given(events)
def test_states_keep_key_and_count_changes(history: list[Any]) -> None:
    state = fold(history)
    kinds = {type(event) for event in history}
    assert (state is None) == (not kinds & {Lead, LeadOp})
    if state is not None:
        assert state.ext_id == "l1"
        assert state.version <= len(history)


@given(events)
def test_only_the_thing_itself_brings_it_into_being(history: list[Any]) -> None:
    """A receipt that came after a tombstone made an empty lead, and its card was overwritten."""
    state = fold([event for event in history if not isinstance(event, Lead)])
    assert state is None or state.version == 0
    if not any(isinstance(event, LeadOp) for event in history):
        assert state is None


def test_an_operation_that_comes_before_its_lead_is_kept() -> None:
    early = fold([LeadOp("l1", 1, status=LeadStatus.BOOKED), CardReceipt("l1", bitrix_lead_id=42)])
    assert early is not None
    assert (early.version, early.status, early.bitrix_lead_id) == (0, "BOOKED", 42)
    state = evolve(early, Lead("l1", 2, client_ext_id="c1"), 5)
    assert state is not None
    assert (state.version, state.status, state.client_ext_id) == (1, "BOOKED", "c1")


def test_present_fields_replace_absent_ones_stay_and_unset_ones_are_cleared() -> None:
    state = evolve(None, Lead("l1", 1, client_ext_id="c1", fee=Decimal("10.00"), state="ACTIVE"), 100)  # type: ignore[arg-type]
    state = evolve(state, Lead("l1", 2, client_ext_id="c2", unset=("fee",)), 200)
    assert (state.client_ext_id, state.fee, state.state) == ("c2", None, "ACTIVE")
    assert (state.update_id, state.version, state.changed_at) == (2, 2, 200)


def test_a_number_that_goes_back_is_stale_and_the_same_number_a_duplicate() -> None:
    state = evolve(None, Lead("l1", 7), 1)
    late, again = LeadOp("l1", 6, status=LeadStatus.WON), LeadOp("l1", 7, status=LeadStatus.WON)
    assert evolve(state, late, 2) is state
    assert is_stale(state, late)
    assert evolve(state, again, 2) is state
    assert not is_stale(state, again)


def test_records_of_several_types_make_one_state() -> None:
    state = fold([Lead("l1", 1), LeadOp("l1", 2, op_ext_id="o1", status=LeadStatus.BOOKED)])
    assert state is not None
    state = evolve(state, CardReceipt("l1", bitrix_lead_id=42), 5)
    assert (state.ext_id, state.status, state.op_ext_id, state.bitrix_lead_id) == ("l1", "BOOKED", "o1", 42)
    assert state.update_id == 2


def test_what_every_state_has_can_not_be_unset() -> None:
    event = Premise("p1", 1, unset=("ext_id", "version", "update_id"))
    state = evolve_by(layout("estate.premise"))(None, event, 9)
    assert (state.ext_id, state.update_id, state.version) == ("p1", 1, 1)
