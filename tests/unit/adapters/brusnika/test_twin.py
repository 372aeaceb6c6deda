"""The twin's company: the same for the same seed, coherent, and with every fault that a real feed has."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from itertools import islice
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.brusnika.frames import BadFrame, read_frame
from adapters.brusnika.twin.catalog import PATHS
from adapters.brusnika.twin.changes import BROKEN, LATEST_FIRST, Change, changes
from adapters.brusnika.twin.developer import Developer
from schemas.estate import Building, City, Lead, LeadOp, LeadState, LeadStatus, Premise, PremiseStatus, Project, Section

PARENTS = {
    Project: ("city_ext_id",),
    Building: ("project_ext_id",),
    Section: ("building_ext_id",),
    Premise: ("building_ext_id", "section_ext_id"),
    Lead: ("project_ext_id", "premise_ext_id"),
    LeadOp: ("lead_ext_id",),
    City: (),
}
SEEDS = st.integers(0, 10_000)
FEW = settings(max_examples=settings().max_examples // 5)
"""Each example is a long stream."""


def rows(seed: int, n: int) -> list[Any]:
    return list(islice(Developer(seed), n))


@given(SEEDS)
@FEW
def test_the_same_seed_gives_the_same_frames(seed: int) -> None:
    assert list(changes(seed, 300)) == list(changes(seed, 500))[:300]
    assert list(changes(seed, 300)) != list(changes(seed + 1, 300))


@given(SEEDS)
@FEW
def test_every_parent_is_said_before_its_children(seed: int) -> None:
    known: set[str] = set()
    for row in rows(seed, 2_000):
        parents = [getattr(row, name) for name in PARENTS[type(row)]]
        assert {parent for parent in parents if parent} <= known, row
        known.add(row[0])


@given(SEEDS)
@FEW
def test_leads_go_along_the_paths_and_premises_follow(seed: int) -> None:
    status: dict[str, str] = {}
    premise: dict[str, str] = {}
    state: dict[str, str] = {}
    taken: set[str] = set()
    sold: set[str] = set()
    for row in rows(seed, 4_000):
        match row:
            case Lead(ext_id=lead):
                premise[lead] = row.premise_ext_id or premise[lead]
                state[lead] = row.state or state[lead]
            case LeadOp(lead_ext_id=lead):
                before = status.get(lead)
                allowed = {s for s, _ in PATHS[LeadStatus[before]]} | {"FAILED"} if before else {"OPEN"}
                assert row.status in allowed, (before, row)
                if row.status == LeadStatus.BOOKED:
                    assert premise[lead] not in taken | sold, "booked twice"
                status[lead] = str(row.status)
            case Premise(ext_id=ext_id):
                assert ext_id not in sold, "said again after it was sold"
                if row.status == PremiseStatus.TAKEN:
                    taken.add(ext_id)
                elif row.status == PremiseStatus.FREE:
                    taken.discard(ext_id)
                if row.is_sold:
                    sold.add(ext_id)
    won = {premise[lead] for lead, last in status.items() if last == "WON"}
    assert len(won & sold) >= len(won) - 1  # the last one may be about to be said
    assert sold
    assert {LeadState.COMPLETE, LeadState.FAILED} <= set(state.values())


def test_the_first_200_changes_tell_of_several_leads() -> None:
    ops = Counter(c.row[0] for c in changes(1, 200) if isinstance(c.row, LeadOp))
    assert sum(n >= 4 for n in ops.values()) >= 5


@given(SEEDS)
@FEW
def test_a_frame_says_its_row_or_is_refused(seed: int) -> None:
    for change in changes(seed, 400, faults=0.5):
        try:
            row = read_frame(change.frame, max_bytes=1024 * 1024)
        except BadFrame:
            assert change.row is None
            assert change.fault in BROKEN
        else:
            assert row == change.row
            assert change.row[1] == change.update_id


def test_every_fault_comes_within_a_thousand_frames() -> None:
    faults = {c.fault for c in changes(1, 1_000)}
    assert faults == {None, "late", "duplicate", *BROKEN}


def test_without_faults_the_numbers_run_from_one_without_a_gap() -> None:
    assert [c.update_id for c in changes(3, 500, faults=0.0)] == list(range(1, 501))


@given(SEEDS)
@FEW
def test_faults_lose_no_change(seed: int) -> None:
    """Every number but the gaps comes, none very late, and no aggregate is overtaken in its first change."""
    good = [c for c in changes(seed, 1_000, faults=0.3) if c.row is not None and c.fault != "duplicate"]
    assert len({c.update_id for c in good}) == len(good)
    first: dict[str, Change] = {}
    highest = 0
    for change in good:
        assert change.row is not None
        assert change.update_id > highest - 2 * LATEST_FIRST
        highest = max(highest, change.update_id)
        first.setdefault(change.row[0], change)
    lowest: dict[str, int] = {}
    for change in good:
        assert change.row is not None
        lowest[change.row[0]] = min(change.update_id, lowest.get(change.row[0], change.update_id))
    assert {key: began.update_id for key, began in first.items()} == lowest
    bare = rows(seed, 500)
    told = {c.row._replace(update_id=None) for c in good if c.row}  # type: ignore[attr-defined]
    assert set(bare[:350]) <= told


def test_a_child_comes_before_its_parent_sometimes() -> None:
    known: set[str] = set()
    orphans = 0
    for change in changes(1, 3_000):
        if change.row is not None:
            parents = [getattr(change.row, name) for name in PARENTS[type(change.row)]]
            orphans += any(parent and parent not in known for parent in parents)
            known.add(change.row[0])
    assert orphans


def test_memory_does_not_grow_with_the_stream() -> None:
    stream = changes(1)
    for _ in islice(stream, 2_000):
        pass
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in islice(stream, 1_000):
        pass
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 250_000
