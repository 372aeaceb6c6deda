"""The default `evolve`: create-to-update. Source: seed `brusnika-kounter`, "ext_id orqali create to update"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from schemas.record import SEQUENCE, UNSET, Contract
from tables.layout import META, Layout, State

Evolve = Callable[[State | None, Any, int], State]
"""``evolve(before, event, at) -> after``; ``at``: the record's time, microseconds UTC. An event that changes nothing
gives ``before`` itself."""


class _Plan(NamedTuple):
    """Where the fields of one record type go in the state."""

    key: int
    sequence: int | None
    unset: int | None
    moves: tuple[tuple[int, int], ...]
    """(index in the event, index in the state)"""


def evolve_by(layout: Layout) -> Evolve:
    """The default evolve of an aggregate.

    Fields present in the record replace, absent ones (None) stay, fields named in ``unset`` are cleared. A record whose
    sequence number is not above the stored one is ignored. Records without one are taken in the order of the topic.
    """
    plans = {c.record: _plan(layout, c) for c in layout.contracts}
    index = {name: i for i, name in enumerate(layout.fields)}
    fixed = len(META)
    new, blank = layout.new, layout.blank

    def evolve(before: State | None, event: Any, at: int) -> State:
        plan = plans[type(event)]
        sequence = None if plan.sequence is None else event[plan.sequence]
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
        values[2] += 1
        values[3] = at
        return new(values)

    return evolve


def _plan(layout: Layout, contract: Contract) -> _Plan:
    place = {name: i for i, name in enumerate(contract.fields)}
    skip = {contract.key, UNSET, *META}
    moves = tuple((place[n], layout.fields.index(n)) for n in contract.fields if n not in skip)
    return _Plan(place[contract.key], place.get(SEQUENCE), place.get(UNSET), moves)


def is_stale(before: State, event: Any) -> bool:
    """Of an ignored event: True if its number is below the stored one, False if it is a plain duplicate."""
    sequence = getattr(event, SEQUENCE, None)
    return sequence is not None and before.update_id is not None and sequence < before.update_id
