"""Changes of an upstream system to things that are decided in the lane: each comes as a command with its own number.

A decided event's ``update_id`` is the lane's count. An upstream system counts its changes too, so its number can't be
that field: it stands in the command as ``source_update_id``, beside the ``source`` that counts. The state keeps the
highest number of each source in ``source_updates``, which the aggregate's events carry.
"""

from __future__ import annotations

from typing import Any, Final

from schemas.errors import shorten
from schemas.record import contract
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
