"""What must have come of the records: a plain fold of the topics as they stand, with the pure functions alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka.structs import ConsumerRecord

from schemas.errors import UndecodableRecord
from schemas.record import contract
from schemas.serde import Serde
from streams import deadletters
from streams.domain import Aggregate, Cause, Domain, Rejected
from tables.layout import State


class Expected(NamedTuple):
    """By the domain's rules."""

    states: dict[bytes, State]
    """By changelog key."""
    written: dict[tuple[str, str], list[str]]
    """Ids (``ce_id``) by topic and key, in order; of dead letters: ``<topic>-<partition>-<offset>``."""


async def expect(domain: Domain, serde: Serde, sources: dict[str, list[ConsumerRecord]]) -> Expected:
    """``sources``: all committed records of each source topic, in order within a partition."""
    expected = Expected({}, {})
    for topic, aggregate in domain.by_topic.items():
        if aggregate.decide is not None and topic == aggregate.topic:
            continue  # decided events were folded when they were decided
        for record in sources[topic]:
            await _take(expected, aggregate, topic, serde, record)
    return expected


async def _take(expected: Expected, aggregate: Aggregate, topic: str, serde: Serde, record: ConsumerRecord) -> None:
    key = record.key.decode()
    place = f"{aggregate.topic}\0{key}".encode()
    before = expected.states.get(place)
    cause = Cause(topic, record.partition, record.offset, record.timestamp * 1000)
    if record.value is None:
        _react(expected, aggregate, before, None, None, cause)
        expected.states.pop(place, None)
        return
    try:
        row = await serde.decode(topic, record.value)
    except UndecodableRecord:
        letter = f"{topic}-{record.partition}-{record.offset}"
        expected.written.setdefault((deadletters.TOPIC, key), []).append(letter)
        return
    if topic == aggregate.topic:
        after = aggregate.evolve(before, row, cause.at)
        if after is not before:
            _react(expected, aggregate, before, after, row, cause)
            expected.states[place] = after
        return
    assert aggregate.decide is not None
    verdict = aggregate.decide(before, row, cause)
    if not isinstance(verdict, Rejected):
        for i, event in enumerate(verdict, start=1):
            number = 1 if before is None or before.update_id is None else before.update_id + 1
            expected.written.setdefault((aggregate.topic, key), []).append(cause.id(i * 1000))
            before = expected.states[place] = aggregate.evolve(before, event._replace(update_id=number), cause.at)
    expected.written.setdefault((aggregate.replies, key), []).append(cause.id(0))


def _react(
    expected: Expected, aggregate: Aggregate, before: State | None, after: State | None, row: Any, cause: Cause
) -> None:
    if aggregate.react is None:
        return
    for n, out in enumerate(aggregate.react(before, after, row, cause)):
        of = contract(type(out.row))
        out_key = out.row[of.fields.index(of.key)]
        expected.written.setdefault((out.topic, out_key), []).append(cause.id(n))


def written_ids(topic: str, records: Iterable[ConsumerRecord]) -> dict[tuple[str, str], list[str]]:
    """The same of what stands on a topic."""
    found: dict[tuple[str, str], list[str]] = {}
    for record in records:
        headers = {name: value.decode() for name, value in record.headers if not name.startswith(deadletters.ORIGINAL)}
        if topic == deadletters.TOPIC:
            place = "-".join(headers[f"__connect.errors.{part}"] for part in ("topic", "partition", "offset"))
        else:
            place = headers["ce_id"]
        found.setdefault((topic, record.key.decode()), []).append(place)
    return found
