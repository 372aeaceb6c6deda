"""The main backend's part of a domain's changes: each as a whole frame, with the things that it stands on.

Only a deployment with a backend has this in its lanes (`streams.domains.estate.estate`).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import orjson

from schemas.backend import CHANGES, BackendChange, subject_of
from schemas.bookings import BookingReported, TimeSlotReported, VisitReported
from schemas.external import whole_frame
from schemas.people import ClientReported, FixingReported, UserReported
from schemas.record import contract
from streams.aggregate import Cause, Outgoing, React
from tables.layout import State

BACKEND: Final = "backend"
"""The source of commands that the backend sends (`streams.upstream`)."""
DECIDED: Final[Mapping[type[Any], str]] = {
    TimeSlotReported: "time_slots",
    VisitReported: "VISIT",
    BookingReported: "booking",
    ClientReported: "client",
    FixingReported: "client_fixing",
    UserReported: "user",
}
"""Wire types by decided event. Other records have theirs in their contract."""
PARENTS: Final[Mapping[str, Mapping[str, str]]] = {
    "project": {"city_ext_id": "city"},
    "building": {"project_ext_id": "project"},
    "section": {"building_ext_id": "building"},
    "premise": {"building_ext_id": "building", "section_ext_id": "section"},
    "lead_op": {"ext_id": "lead"},
    "client_fixing": {"ext_id": "client"},
}
"""Types by field of the state, of what the backend must have before it takes a type: it fails the change otherwise."""
REFERENCES: Final[Mapping[str, Mapping[str, str]]] = {
    "lead": {
        "client_ext_id": "client",
        "agent_ext_id": "user",
        "manager_ext_id": "user",
        "project_ext_id": "project",
        "premise_ext_id": "premise",
    },
    "client": {"agent_ext_id": "user"},
    "user": {"city_ext_id": "city", "agency_ext_id": "agency"},
    "agency": {"city_ext_id": "city", "user_ext_id": "user"},
    "VISIT": {"project_ext_id": "project", "client_ext_id": "client", "agent_ext_id": "user"},
    "task": {
        "client_ext_id": "client",
        "project_ext_id": "project",
        "manager_ext_id": "user",
        "created_by_ext_id": "user",
        "lead_ext_id": "lead",
    },
}
"""Types by field of the state, of what a deployment may never send."""


def to_backend(before: State | None, after: State | None, event: Any, cause: Cause) -> list[Outgoing]:
    """Returns the frame of a changed thing; nothing for a record that the backend has no type for, and nothing for what
    the backend has reported itself: what is new in its answer comes as another event."""
    if after is None:
        return []  # the backend's contract has no frame for a thing that is gone
    record: type = type(event)
    form = _form(record)
    if form is None or (record in DECIDED and _number_of(before) != _number_of(after)):
        return []
    return [Outgoing(CHANGES, _change(form, after))]


def also_to_backend(react: React | None) -> React:
    """Returns a `react` that sends the backend's frame behind all that ``react`` sends, which so keeps its ids."""
    if react is None:
        return to_backend
    first = react

    def both(before: State | None, after: State | None, event: Any, cause: Cause) -> list[Outgoing]:
        return [*first(before, after, event, cause), *to_backend(before, after, event, cause)]

    return both


class _Form(NamedTuple):
    """The frame that a type of record gets, looked up once."""

    word: str
    parents: Mapping[str, str]
    references: Mapping[str, str]


@cache
def _form(record: type) -> _Form | None:
    word = DECIDED.get(record) or contract(record).outside
    none: Mapping[str, str] = MappingProxyType({})
    return None if word is None else _Form(word, PARENTS.get(word, none), REFERENCES.get(word, none))


def _change(form: _Form, after: State) -> BackendChange:
    word, said = whole_frame(form.word, after)
    return BackendChange(
        subject=subject_of(word, after.ext_id),
        type=word,
        ext_id=after.ext_id,
        frame=orjson.dumps(said, default=_json_number).decode(),
        parents=_subjects(form.parents, after),
        references=_subjects(form.references, after),
    )


def _subjects(types: Mapping[str, str], state: State) -> tuple[str, ...]:
    ids = ((type, getattr(state, name)) for name, type in types.items())
    return tuple(subject_of(type, ext_id) for type, ext_id in ids if ext_id is not None)


def _number_of(state: State | None) -> str | None:
    """Returns the backend's own number of its last change of a thing, as `streams.upstream` keeps it."""
    kept = (getattr(state, "source_updates", None) or "").split()
    return next((pair for pair in kept if pair.startswith(f"{BACKEND}:")), None)


def _json_number(value: Any) -> orjson.Fragment:
    """Returns money as the number that it is: a float would round large amounts."""
    if not isinstance(value, Decimal):
        raise TypeError(f"no JSON for {type(value).__name__}")
    whole = value.to_integral_value()
    return orjson.Fragment(format(whole if whole == value else value, "f"))
