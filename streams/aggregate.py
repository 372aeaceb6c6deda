"""The parts of a domain: aggregates, each with up to three pure functions, and the topics that follow.

    evolve(before, event, at) -> after                      default: create-to-update (`tables.fold`)
    react(before, after, event, cause) -> [Outgoing]        records for other topics
    decide(before, command, cause) -> [event] | Accepted | Rejected    where the rules are ours

None of them does I/O or reads a clock; time and ids come with the cause. A tombstone is folded with ``event=None``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, NamedTuple

from schemas.cloudevents import cause_id
from schemas.record import SEQUENCE, UNSET, contracts
from tables.fold import Evolve, evolve_by
from tables.layout import META, Layout, State, layout
from tables.listing import Listing

IDS_PER_EVENT: Final = 1_000
"""Ids of a command's n-th decided event and of its reactions start at n times this."""
_BEYOND: Final = 10**9
"""A number above all ids that one event can ask for: a transaction holds far fewer records."""


def id_number(event: int, place: int) -> int:
    """Returns the number that an id of a command is made of, another one for each pair of arguments.

    ``event``: which of the command's decided events, from 1 on; 0 is the command itself. ``place``: which of that
    event's ids, from 0 on. The first 1,000 places have the numbers that they had when there were no more. Later ones
    are negative, as every number from zero on belongs to some event.
    """
    if place < IDS_PER_EVENT:
        return event * IDS_PER_EVENT + place
    return -(event * _BEYOND + place)


class Outgoing(NamedTuple):
    """A record for another topic. Its key is its contract's; its id follows from the cause.

    To a topic that this domain folds it goes to its own key's partition, so that one aggregate can send to another; to
    an outbox on the partition of the lane that writes it, which keeps a transaction to few partitions.
    """

    topic: str
    row: Any


class Rejected(NamedTuple):
    """A command that the rules do not allow."""

    code: str
    """Stable, for programs: ``no_seats_left``."""
    reason: str
    """For people."""
    tell: Sequence[Outgoing] = ()
    """Records for other topics because of the refusal."""


class Accepted(NamedTuple):
    """A command that is carried out, with what its events do not hold."""

    events: Sequence[Any]
    subject: str | None = None
    """The id of the thing that was made, for the reply."""
    tell: Sequence[Outgoing] = ()
    """Records for other topics, beside those that `react` makes of the events."""
    replies: bool = True
    """False: no reply is written. The command was passed on (`tell`, under its own ``command_id``), so that the
    aggregate that decides last replies, and the sender gets one reply; or no reply is wanted."""


class Cause:
    """The record that is being folded: its place, its time, and ids derived from them."""

    __slots__ = ("at", "event", "offset", "partition", "topic")

    def __init__(self, topic: str, partition: int, offset: int, at: int, event: int | None = None) -> None:
        self.topic, self.partition, self.offset = topic, partition, offset
        self.at = at
        """Microseconds since the epoch, UTC."""
        self.event = event
        """Which of a command's decided events, from 1 on; 0: the command itself; None: the record is no command."""

    def id(self, n: int) -> str:
        """Returns the ``n``-th id of this cause, the same at every repeat (UUIDv5)."""
        if self.event is not None:
            # The first id of an event is that of its own record, its reactions have those behind it.
            n = id_number(self.event, n + 1 if self.event else n)
        return cause_id(self.topic, self.partition, self.offset, n)


React = Callable[[State | None, State | None, Any, Cause], Sequence[Outgoing]]
Decide = Callable[[State | None, Any, Cause], Sequence[Any] | Accepted | Rejected]


@dataclass(frozen=True, eq=False)
class Aggregate:
    """One kind of thing with a history: its topic, and what is special about it."""

    topic: str
    react: React | None = None
    decide: Decide | None = None
    evolve_with: Callable[[Layout], Evolve] = evolve_by
    listing: Listing = field(default_factory=Listing)
    """The fields that lists of it can be sorted, limited and searched by."""

    @cached_property
    def layout(self) -> Layout:
        return layout(self.topic)

    @cached_property
    def evolve(self) -> Evolve:
        return self.evolve_with(self.layout)

    @property
    def commands(self) -> str:
        """Returns the topic of its commands, if it decides."""
        return f"{self.topic}.commands"

    @property
    def replies(self) -> str:
        """Returns the topic on which its commands are answered."""
        return f"{self.topic}.replies"

    def check(self) -> None:
        """Raises TypeError for records that can't stand on one topic with decided events.

        Those are folded before they are read back, other records after: they must not share a field, or a replay of the
        topic could end in another state than the table. And their ``update_id`` is the lane's count: a record that an
        upstream system numbers would be dropped as a duplicate, or drop decided ones.
        """
        if self.decide is None:
            return
        numbered = {n for c in contracts(self.topic) if c.sequence for n in c.fields}
        others = {n for c in contracts(self.topic) if not c.sequence for n in c.fields if n != c.key}
        if shared := (numbered & others) - {UNSET, *META}:
            raise TypeError(f"{self.topic}: decided and other records share {sorted(shared)}")
        if upstream := [c.name for c in contracts(self.topic) if c.sequence and c.outside]:
            raise TypeError(
                f"{self.topic}: decided events and {', '.join(upstream)}, which an upstream system numbers, share the"
                f" field {SEQUENCE!r}; the lane counts it, so an upstream change would be dropped as a duplicate."
                " Expected: they come as commands with source and source_update_id (streams.upstream.newest_only)."
            )


@dataclass(frozen=True, eq=False)
class Domain:
    """A Faust app: a consumer group, a lane per partition, one changelog."""

    name: str
    aggregates: tuple[Aggregate, ...]
    outboxes: tuple[str, ...] = ()
    """Outbox topics, which reactions write to."""
    statuses: Mapping[str, int] = field(default_factory=dict)
    """HTTP status by the code of a `Rejected`, where it is not 422."""

    def __post_init__(self) -> None:
        for aggregate in self.aggregates:
            aggregate.check()

    @property
    def changelog(self) -> str:
        """Returns the changelog topic. Every version of the domain has it, so in a rolling deploy its owner alone runs
        a partition."""
        return f"{self.name}-state-changelog"

    @cached_property
    def by_topic(self) -> dict[str, Aggregate]:
        """Returns aggregates by source topic, commands included."""
        found = {a.topic: a for a in self.aggregates}
        return found | {a.commands: a for a in self.aggregates if a.decide is not None}

    @property
    def sources(self) -> tuple[str, ...]:
        """Returns all topics that are folded."""
        return tuple(self.by_topic)

    @property
    def replies(self) -> tuple[str, ...]:
        """Returns the topics on which commands are answered."""
        return tuple(a.replies for a in self.aggregates if a.decide is not None)

    @property
    def writes(self) -> tuple[str, ...]:
        """Returns all topics that the lane may write Avro records to."""
        return (*self.outboxes, *self.sources, *self.replies)
