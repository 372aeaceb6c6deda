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
from schemas.external import to_outside
from schemas.record import SEQUENCE, UNSET, Contract, contract
from streams.aggregate import Cause, Outgoing, React
from tables.layout import META, State

PARENTS: Final[Mapping[str, Mapping[str, str]]] = {
    "project": {"city_ext_id": "city"},
    "building": {"project_ext_id": "project"},
    "section": {"building_ext_id": "building"},
    "premise": {"building_ext_id": "building", "section_ext_id": "section"},
    "lead_op": {"lead_ext_id": "lead"},
    "client_fixing": {"client_ext_id": "client"},
}
"""Types by field, of what the backend must have before it takes a type: it fails the change otherwise."""
REFERENCES: Final[Mapping[str, Mapping[str, str]]] = {
    "lead": {
        "client_ext_id": "client",
        "agent_ext_id": "user",
        "manager_ext_id": "user",
        "project_ext_id": "project",
        "premise_ext_id": "premise",
    },
    "client": {"agent_ext_id": "user"},
    "user": {"agency_ext_id": "agency"},
}
"""Types by field, of what a deployment may never send."""


def to_backend(before: State | None, after: State | None, event: Any, cause: Cause) -> list[Outgoing]:
    """Returns the frame of a changed thing; nothing for a record that the backend has no type for."""
    if after is None:
        return []  # the backend's contract has no frame for a thing that is gone
    record: type = type(event)
    form = _form(record)
    return [] if form is None else [Outgoing(CHANGES, _change(form, after))]


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

    of: Contract
    outside: str
    fields: tuple[str, ...]
    """The fields of the frame that a state has under the same name; the key is not among them."""
    parents: Mapping[str, str]
    references: Mapping[str, str]


@cache
def _form(record: type) -> _Form | None:
    of = contract(record)
    if of.outside is None:
        return None
    fields = tuple(name for name in of.fields if name not in (of.key, SEQUENCE, UNSET, *META))
    none: Mapping[str, str] = MappingProxyType({})
    return _Form(of, of.outside, fields, PARENTS.get(of.outside, none), REFERENCES.get(of.outside, none))


def _change(form: _Form, after: State) -> BackendChange:
    of, values = form.of, {name: getattr(after, name) for name in form.fields}
    values[of.key] = after.ext_id
    _, known = to_outside(of.record(**values))
    said = {of.wire_names[name]: known.get(of.wire_names[name]) for name in (of.key, *form.fields)}
    return BackendChange(
        subject=subject_of(form.outside, after.ext_id),
        type=form.outside,
        ext_id=after.ext_id,
        frame=orjson.dumps(said, default=_number).decode(),
        parents=_subjects(form.parents, values),
        references=_subjects(form.references, values),
    )


def _subjects(types: Mapping[str, str], values: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(subject_of(type, str(values[name])) for name, type in types.items() if values.get(name) is not None)


def _number(value: Any) -> orjson.Fragment:
    """Returns money as the number that it is: a float would round large amounts."""
    if not isinstance(value, Decimal):
        raise TypeError(f"no JSON for {type(value).__name__}")
    whole = value.to_integral_value()
    return orjson.Fragment(format(whole if whole == value else value, "f"))
