"""What a key's history says of each record."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.bitrix24 import CardReceipt
from schemas.cloudevents import EventMeta, read_headers
from schemas.errors import UndecodableRecord
from schemas.estate import Lead, LeadOp, LeadState, LeadStatus
from tables.fold import evolve_by
from tables.layout import META, layout
from tables.timeline import Said, timeline

LEADS = layout("estate.lead")
EVOLVE = evolve_by(LEADS)
BROKEN = UndecodableRecord("too_short", "no schema id")


def meta(at: int) -> EventMeta:
    return read_headers([], timestamp_ms=at // 1_000, topic="estate.lead", partition=0, offset=at)


def history(*rows: Any) -> list[Said]:
    return [Said(row, meta(at), at, 0, at) for at, row in enumerate(rows)]


def verdicts(*rows: Any) -> list[str]:
    return [entry.verdict for entry in timeline(EVOLVE, history(*rows))]


def test_each_record_says_what_it_changed_or_why_nothing() -> None:
    first = Lead("l1", 5, fee=Decimal("10.00"), state=LeadState.ACTIVE)
    late, cleared = LeadOp("l1", 4, status=LeadStatus.WON), Lead("l1", 6, unset=("fee",))
    entries = timeline(EVOLVE, history(first, first, late, BROKEN, cleared, None, None))
    assert [e.verdict for e in entries] == [
        "applied", "duplicate", "stale", "unreadable", "applied", "deleted", "duplicate",
    ]  # fmt: skip
    assert [e.kind for e in entries] == [
        "Lead", "Lead", "LeadOp", "unreadable", "Lead", "tombstone", "tombstone",
    ]  # fmt: skip
    assert entries[0].changed == {"fee": (None, Decimal("10.00")), "state": (None, "ACTIVE")}
    assert entries[4].changed == {"fee": (Decimal("10.00"), None)}
    assert entries[5].changed == {"state": ("ACTIVE", None)}
    assert [e.changed for e in entries if e.verdict not in ("applied", "deleted")] == [{}] * 4


def test_nothing_of_it_nothing_to_say() -> None:
    assert timeline(EVOLVE, []) == []


def test_a_deleted_thing_begins_again_with_any_number() -> None:
    entries = timeline(EVOLVE, history(Lead("l1", 9), None, Lead("l1", 1)))
    assert entries[-1].verdict == "applied"
    assert entries[-1].after is not None
    assert (entries[-1].after.update_id, entries[-1].after.version) == (1, 1)


def test_an_unreadable_record_leaves_the_state_and_what_comes_later_goes_on_from_it() -> None:
    entries = timeline(EVOLVE, history(Lead("l1", 1), BROKEN, Lead("l1", 2)))
    assert entries[1].after is entries[0].after
    assert entries[2].after is not None
    assert entries[2].after.version == 2
    assert verdicts(BROKEN) == ["unreadable"]
    assert timeline(EVOLVE, history(BROKEN))[0].after is None


def test_a_newer_number_without_news_counts_as_applied_and_changes_no_field() -> None:
    entries = timeline(EVOLVE, history(Lead("l1", 1), Lead("l1", 2)))
    assert (entries[1].verdict, entries[1].changed) == ("applied", {})


def test_a_receipt_that_comes_twice_is_a_duplicate() -> None:
    receipt = CardReceipt("l1", bitrix_lead_id=7)
    assert verdicts(Lead("l1", 1), receipt, receipt) == ["applied", "applied", "duplicate"]


def of(cls: Any, **fields: Any) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({"update_id": st.integers(1, 6), **fields}).map(lambda values: cls("l1", **values))


rows = st.one_of(
    st.none(),
    st.just(BROKEN),
    of(Lead, fee=st.none() | st.decimals(0, 99, places=2)),
    of(LeadOp, status=st.sampled_from([None, *LeadStatus])),
    st.sampled_from([None, 1, 2]).map(lambda number: CardReceipt("l1", bitrix_lead_id=number)),
)


@given(st.lists(rows, max_size=15))
def test_changes_put_together_are_the_last_state(said: list[Any]) -> None:
    entries = timeline(EVOLVE, history(*said))
    assert len(entries) == len(said)
    known: dict[str, Any] = {}
    for entry in entries:
        for name, (before, after) in entry.changed.items():
            assert known.get(name) == before
            known[name] = after
        state = {} if entry.after is None else entry.after._asdict()
        for name in LEADS.fields:
            if name not in META:
                assert known.get(name) == state.get(name)


@given(st.lists(rows, max_size=12), st.integers(0, 12))
def test_as_of_is_the_history_cut_off(said: list[Any], cut: int) -> None:
    whole, part = timeline(EVOLVE, history(*said)), timeline(EVOLVE, history(*said)[:cut])
    assert [e.after for e in whole[:cut]] == [e.after for e in part]
