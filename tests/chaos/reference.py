"""What must have come of the records: a plain fold of the topics as they stand, with the pure functions alone.

Commands that aggregates tell each other stand on the topics too, so a saga needs no rule here: each step is folded
where it stands. Records that are no commands and that others tell to an aggregate which decides are not folded, as the
topics do not say how they lay between its commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from aiokafka.structs import ConsumerRecord

from schemas.cloudevents import cause_id
from schemas.codec.serde import Serde
from schemas.errors import UndecodableRecord
from schemas.record import contract
from streams.aggregate import Accepted, Aggregate, Cause, Domain, Outgoing, Rejected, id_number
from streams.kafka import dead_letters
from tables.layout import State

Place = tuple[str, str, str]
"""Topic, key, and the partition of the cause (``<topic>-<partition>``): within these three the order is certain."""
UNASKED = ""
"""Stands for the cause's partition of a record that nothing asked for."""


class Expected(NamedTuple):
    """By the domain's rules."""

    states: dict[bytes, State]
    """By changelog key."""
    written: dict[Place, list[str]]
    """Ids (``ce_id``), in order; of dead letters: ``<topic>-<partition>-<offset>``."""
    causes: dict[str, str]
    """The partition of the cause (``<topic>-<partition>``) by id."""

    def write(self, cause: Cause, topic: str, key: str, id: str) -> None:
        """Note a record that must have been written."""
        self.causes[id] = f"{cause.topic}-{cause.partition}"
        self.written.setdefault((topic, key, self.causes[id]), []).append(id)

    def tell(self, cause: Cause, told: Iterable[Outgoing], first: int = 0) -> None:
        """Note what reactions and verdicts tell; ``first``: the place of the first one's id."""
        for n, (topic, row) in enumerate(told, start=first):
            self.write(cause, topic, row[contract(type(row)).fields.index(contract(type(row)).key)], cause.id(n))


async def expect(domain: Domain, serde: Serde, sources: Mapping[str, Iterable[ConsumerRecord]]) -> Expected:
    """``sources``: all committed records of each source topic, in order within a partition."""
    expected = Expected({}, {}, {})
    for topic, aggregate in domain.by_topic.items():
        if aggregate.decide is not None and topic == aggregate.topic:
            continue  # decided events were folded when they were decided
        for record in sources[topic]:
            await _take(expected, aggregate, topic, serde, record)
    return expected


async def _take(expected: Expected, aggregate: Aggregate, topic: str, serde: Serde, record: ConsumerRecord) -> None:
    key = record.key.decode()
    is_command = topic != aggregate.topic
    cause = Cause(topic, record.partition, record.offset, record.timestamp * 1000, 0 if is_command else None)
    if record.value is None:
        place = f"{aggregate.topic}\0{key}".encode()
        before = expected.states.pop(place, None)
        if before is not None and aggregate.react is not None:
            expected.tell(cause, aggregate.react(before, None, None, cause))
        return
    try:
        row = await serde.decode(topic, record.value)
    except UndecodableRecord:
        expected.write(cause, dead_letters.TOPIC, key, f"{topic}-{record.partition}-{record.offset}")
        return
    if is_command:
        _decide(expected, aggregate, key, row, cause)
    else:
        _evolve(expected, aggregate, key, row, cause)


def _evolve(expected: Expected, aggregate: Aggregate, key: str, event: Any, cause: Cause) -> None:
    place = f"{aggregate.topic}\0{key}".encode()
    before = expected.states.get(place)
    after = aggregate.evolve(before, event, cause.at)
    if after is None or after is before:
        return
    expected.states[place] = after
    if aggregate.react is not None:
        expected.tell(cause, aggregate.react(before, after, event, cause))


def _decide(expected: Expected, aggregate: Aggregate, key: str, command: Any, cause: Cause) -> None:
    assert aggregate.decide is not None
    place = f"{aggregate.topic}\0{key}".encode()
    verdict = aggregate.decide(expected.states.get(place), command, cause)
    if not isinstance(verdict, Accepted | Rejected):
        verdict = Accepted(verdict)
    for i, event in enumerate(() if isinstance(verdict, Rejected) else verdict.events, start=1):
        state = expected.states.get(place)
        number = 1 if state is None or state.update_id is None else state.update_id + 1
        id = cause_id(cause.topic, cause.partition, cause.offset, id_number(i, 0))
        expected.write(cause, aggregate.topic, key, id)
        of_event = Cause(cause.topic, cause.partition, cause.offset, cause.at, i)
        _evolve(expected, aggregate, key, event._replace(update_id=number), of_event)
    expected.tell(cause, verdict.tell, first=1)
    if isinstance(verdict, Rejected) or verdict.replies:
        expected.write(cause, aggregate.replies, key, cause.id(0))


def is_written_by(domain: Domain, record: ConsumerRecord) -> bool:
    """Whether a record was written by the domain's lanes: what others produced is nothing that came of anything."""
    return dict(record.headers).get("ce_source") == f"kounter/{domain.name}".encode()


def written_ids(topic: str, records: Iterable[ConsumerRecord], causes: Mapping[str, str]) -> dict[Place, list[str]]:
    """The same of what stands on a topic."""
    found: dict[Place, list[str]] = {}
    for record in records:
        headers = {name: value.decode() for name, value in record.headers if not name.startswith(dead_letters.ORIGINAL)}
        if topic == dead_letters.TOPIC:
            id = "-".join(headers[f"__connect.errors.{part}"] for part in ("topic", "partition", "offset"))
        else:
            id = headers["ce_id"]
        found.setdefault((topic, record.key.decode(), causes.get(id, UNASKED)), []).append(id)
    return found
