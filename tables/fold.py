"""The default `evolve`: create-to-update. Source: docs/contracts/brusnika.md#numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from schemas.record import SEQUENCE, UNSET, Contract, IfUnknown
from tables.compiled import native
from tables.layout import META, Layout, State

Evolve = Callable[[State | None, Any, int], State | None]
"""Function ``evolve(before, event, at) -> after``; ``at``: the record's time, microseconds UTC. An event that changes
nothing returns ``before`` itself: None where the key has no state and the event does not create one."""


class _Plan(NamedTuple):
    """The places of one record type's fields in the state."""

    key: int
    sequence: int | None
    unset: int | None
    moves: tuple[tuple[int, int], ...]
    """Pairs (index in the event, index in the state)."""
    if_unknown: IfUnknown


def evolve_by(layout: Layout) -> Evolve:
    """Returns the default evolve of an aggregate.

    Fields present in the record replace, absent ones (None) stay, fields named in ``unset`` are cleared. A record whose
    sequence number is not above the stored one is ignored. Records without one are taken in the order of the topic.
    While the key has no state, a record's effect is its contract's ``if_unknown``.
    """
    whole = evolve_whole(layout)
    merges = {c.record: _merge(layout, _plan(layout, c), len(c.fields), whole) for c in layout.contracts}

    def evolve(before: State | None, event: Any, at: int) -> State | None:
        return whole(before, event, at) if before is None else merges[type(event)](before, event, at)

    return evolve


def evolve_whole(layout: Layout) -> Evolve:
    """Returns the plain form, for all cases; a test compares `_merge` with it."""
    plans = {c.record: _plan(layout, c) for c in layout.contracts}
    index = {name: i for i, name in enumerate(layout.fields)}
    fixed = len(META)
    new, blank = layout.new, layout.blank

    def evolve(before: State | None, event: Any, at: int) -> State | None:
        plan = plans[type(event)]
        sequence = None if plan.sequence is None else event[plan.sequence]
        if before is None and plan.if_unknown == "ignore":
            return None
        if before is None:
            state = blank(event[plan.key])
        elif sequence is not None and before[1] is not None and sequence <= before[1]:
            return before
        else:
            state = before
        values = list(state)
        for i, j in plan.moves:
            if (value := event[i]) is not None:
                values[j] = value
        if plan.unset is not None:
            for name in event[plan.unset]:
                if (j := index.get(name, 0)) >= fixed:
                    values[j] = None
        if sequence is not None:
            values[1] = sequence
        elif before is not None and values == list(before):
            return before
        if values[2] or plan.if_unknown == "create":
            values[2] += 1
        values[3] = at
        return new(values)

    return evolve


def _merge(layout: Layout, plan: _Plan, size: int, whole: Evolve) -> Evolve:
    """Returns the common case, a numbered record that clears nothing, as one expression over all fields: half the
    time."""
    if plan.sequence is None:
        return whole
    if plan.if_unknown != "create":
        quick = _merge(layout, plan._replace(if_unknown="create"), size, whole)

        def merge_known(before: State | None, event: Any, at: int) -> State | None:
            return quick(before, event, at) if before is not None and before[2] else whole(before, event, at)

        return merge_known
    if native is not None:
        unset = -1 if plan.unset is None else plan.unset
        state_size = len(layout.fields)
        return native.Merge(layout.row, state_size, size, plan.sequence, unset, plan.moves, whole).merge
    moved = {j: i for i, j in plan.moves}
    fields = range(len(META), len(layout.fields))
    merged = [f"s{j} if e{moved[j]} is None else e{moved[j]}" if j in moved else f"s{j}" for j in fields]
    number = f"e{plan.sequence}"
    other = f"{number} is None" if plan.unset is None else f"{number} is None or e{plan.unset}"
    source = f"""
def merge(before, event, at):
    {"".join(f"s{j}, " for j in range(len(layout.fields)))}rest = before
    {"".join(f"e{i}, " for i in range(size))}= event
    if {other}:
        return whole(before, event, at)
    if s1 is not None and {number} <= s1:
        return before
    return new(Row, (s0, {number}, s2 + 1, at, {"".join(f"{value}, " for value in merged)}rest))
"""
    scope: dict[str, Any] = {"whole": whole, "new": tuple.__new__, "Row": layout.row}
    exec(compile(source, "<merge>", "exec"), scope)  # noqa: S102 - numbers only, no names
    merge: Evolve = scope["merge"]
    return merge


def _plan(layout: Layout, contract: Contract) -> _Plan:
    place = {name: i for i, name in enumerate(contract.fields)}
    skip = {contract.key, UNSET, *META}
    moves = tuple((place[n], layout.fields.index(n)) for n in contract.fields if n not in skip)
    return _Plan(place[contract.key], place.get(SEQUENCE), place.get(UNSET), moves, contract.if_unknown)


def is_stale(before: State, event: Any) -> bool:
    """Returns whether an ignored event's number is below the stored one; False for a plain duplicate."""
    sequence = getattr(event, SEQUENCE, None)
    return sequence is not None and before.update_id is not None and sequence < before.update_id
