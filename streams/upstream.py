"""Changes of an upstream system to things that are decided in the lane: each comes as a command with its own number.

A decided event's ``update_id`` is the lane's count. An upstream system counts its changes too, so its number can't be
that field: it stands in the command as ``source_update_id``, beside the ``source`` that counts. The state keeps the
highest number of each source in ``source_updates``, which the aggregate's events carry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from schemas.errors import shorten
from schemas.record import UNSET, contract
from streams.aggregate import Accepted, Cause, Decide, Rejected
from tables.layout import State

SOURCE: Final = "source"
"""The field of a command that names the system which counts; a name without a space."""
NUMBER: Final = "source_update_id"
"""The field of a command with that system's number of the change; None: the sender numbers nothing."""
SEEN: Final = "source_updates"
"""The field of events and states: ``brusnika:17 portal:4``."""
OLD_NEWS: Final = "old_news"


def newest_only(decide: Decide, seen: type[Any]) -> Decide:
    """Returns ``decide`` for an aggregate that upstream systems change too.

    A command whose number is not above the highest one of its source is rejected as `OLD_NEWS`; the rules are not
    called. A number that is taken is kept in the last event that the rules give. ``seen`` is the event class that keeps
    it where they give none, built of the key alone: else an older change that comes later would be taken for news. A
    change that the rules reject keeps no number, as a rejection changes nothing. Commands without a number pass.

    Raises TypeError if ``seen`` has no field for the numbers.
    """
    if SEEN not in contract(seen).fields:
        raise TypeError(f"{seen.__name__}: expected a field {SEEN!r} of type Text | None, came none")

    def decide_newest(before: State | None, command: Any, cause: Cause) -> Any:
        number = getattr(command, NUMBER, None)
        if number is None:
            return decide(before, command, cause)
        source = getattr(command, SOURCE, None) or ""
        if " " in source:  # a space separates two sources in the field
            return Rejected("invalid_source", f"{SOURCE}: expected a name without a space, came {shorten(source)}")
        known = updates_of(before)
        last = known.get(source)
        if last is not None and number <= last:
            return Rejected(OLD_NEWS, f"{shorten(source)} said {last} before, came {number}")
        verdict = decide(before, command, cause)
        if isinstance(verdict, Rejected):
            return verdict
        accepted = verdict if isinstance(verdict, Accepted) else Accepted(verdict)
        return accepted._replace(events=_keeping(accepted.events, seen, command, known | {source: number}))

    return decide_newest


def updates_of(state: State | None) -> dict[str, int]:
    """Returns the highest number of each source that a state has seen. Anything but a number is ignored: any producer
    may write an event."""
    pairs = (entry.rpartition(":") for entry in (getattr(state, SEEN, None) or "").split(" "))
    return {source: int(number) for source, _, number in pairs if _is_number(number)}


def _is_number(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdecimal() and len(digits) <= 19


def _keeping(events: Any, seen: type[Any], command: Any, numbers: dict[str, int]) -> list[Any]:
    """Returns the events, of which the last one keeps the numbers."""
    kept = {SEEN: " ".join(f"{source}:{number}" for source, number in numbers.items())}
    if events and SEEN in contract(type(events[-1])).fields:
        return [*events[:-1], events[-1]._replace(**kept)]
    of, key = contract(type(command)), contract(seen).key
    return [*events, seen(**{key: command[of.fields.index(of.key)]}, **kept)]


def as_reported(events: Mapping[type[Any], type[Any]]) -> Decide:
    """Returns the `decide` of an aggregate whose rule is that what an upstream system reports is so.

    ``events``: the event class of each command class; the first one keeps the numbers. An event takes over all fields
    of the command that it has, cleared ones too. An older report is dropped, as is one without a number that changes
    nothing. No reply is written, as the upstream system waits for none.
    """
    plans = {command: _shared_fields(command, event) for command, event in events.items()}

    def decide_report(before: State | None, command: Any, cause: Cause) -> Accepted:
        event = events[type(command)]
        fields = {name: command[i] for name, i in plans[type(command)]}
        if getattr(command, NUMBER, None) is None and _is_known(before, event, fields):
            return _DROPPED
        return Accepted([event(**fields)], replies=False)

    newest = newest_only(decide_report, next(iter(events.values())))

    def decide(before: State | None, command: Any, cause: Cause) -> Any:
        verdict = newest(before, command, cause)
        return _DROPPED if isinstance(verdict, Rejected) and verdict.code == OLD_NEWS else verdict

    return decide


_DROPPED: Final = Accepted((), replies=False)


def _shared_fields(command: type[Any], event: type[Any]) -> tuple[tuple[str, int], ...]:
    """Returns (name, place in the command) of the fields that both have. Raises TypeError if that is not all that the
    external form of the command has, as the rest would be lost in silence."""
    of, known = contract(command), contract(event)
    if lost := set(of.said) - {NUMBER, *known.fields}:
        raise TypeError(f"{known.name}: expected all fields of {of.name}, came none for {sorted(lost)}")
    return tuple((name, i) for i, name in enumerate(of.fields) if name in known.fields)


def _is_known(before: State | None, event: type[Any], fields: Mapping[str, Any]) -> bool:
    """Returns whether a state has all that a report without a number would change."""
    of = contract(event)
    if before is None or not (before.version or of.if_unknown == "wait"):
        return False
    changed = any(v is not None and v != getattr(before, n) for n, v in fields.items() if n not in (of.key, UNSET))
    return not changed and all(getattr(before, name, None) is None for name in fields.get(UNSET, ()))
