"""The history of one key: the changes by each record, or the reason why it changed nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from schemas.cloudevents import EventMeta
from tables.fold import Evolve, is_stale
from tables.layout import META, REST, State

Verdict = Literal["applied", "duplicate", "stale", "unknown", "deleted", "unreadable", "dead-letter"]


class Said(NamedTuple):
    """A record of the key: its row, None for a tombstone, or the reason why it can't be read."""

    row: Any
    meta: EventMeta
    at: int
    """Kafka's time of the record, microseconds UTC, which the fold uses."""
    partition: int
    offset: int


class PutAside(Exception):
    """Stands for the row of a record that became a dead letter: it was not folded."""

    def __init__(
        self, reason: str, message: str, letter: str, put_back: str | None = None, again: str | None = None
    ) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason, self.message, self.letter = reason, message, letter
        self.put_back, self.again = put_back, again
        """Time at which it was put back, and the dead letter that it then became; None: neither."""
        self.unreadable = False
        """Whether its bytes still can't be read."""


class Entry(NamedTuple):
    """A line of the timeline."""

    said: Said
    verdict: Verdict
    changed: dict[str, tuple[Any, Any]]
    """Values (before, after) by field."""
    after: State | None

    @property
    def kind(self) -> str:
        """Returns the record's class name, or the reason why there is none."""
        row = self.said.row
        return "tombstone" if row is None else self.verdict if isinstance(row, Exception) else type(row).__name__


def timeline(evolve: Evolve, history: Iterable[Said]) -> list[Entry]:
    """Returns the timeline of one key's records, in the order of the topic."""
    entries: list[Entry] = []
    state: State | None = None
    for said in history:
        before = state
        verdict: Verdict = "applied"
        if isinstance(said.row, PutAside):
            verdict = "unreadable" if said.row.unreadable else "dead-letter"
        elif isinstance(said.row, Exception):
            verdict = "unreadable"
        elif said.row is None:
            state, verdict = None, "deleted" if before is not None else "duplicate"
        else:
            state = evolve(before, said.row, said.at)
            if before is None and state is None:
                verdict = "unknown"  # it reports about an unknown thing
            elif before is not None and state is before:
                verdict = "stale" if is_stale(before, said.row) else "duplicate"
        entries.append(Entry(said, verdict, _changes(before, state), state))
    return entries


def _changes(before: State | None, after: State | None) -> dict[str, tuple[Any, Any]]:
    if before is after:
        return {}
    old = {} if before is None else before._asdict()
    new = {} if after is None else after._asdict()
    names = [name for name in {**old, **new} if name not in (*META, REST)]
    return {name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}
