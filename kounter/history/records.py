"""The records of all our topics as commands show them: topics of domains, and those that Kounter keeps for itself.
Personal data is masked unless it is requested."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import Any, Final

import orjson

from kounter.connectors import sinks
from kounter.history.dead_letters import as_dict
from kounter.history.present import moment, row_as_dict, state_as_dict
from kounter.history.reader import Reader
from schemas.errors import KounterError, UndecodableRecord
from schemas.record import contracts
from streams.delivery import ledger, offset_tracker, parking
from streams.domains import DOMAINS
from streams.kafka import dead_letters
from streams.kafka.topics import changelog_of, group_of
from tables.layout import layout, mask

DEEPEST: Final = 20
"""Levels of external JSON that are shown."""
Shown = tuple[str, dict[str, Any]]
"""The kind of a record, and its fields in the line."""


def memories() -> frozenset[str]:
    """Returns the changelogs of deliveries."""
    return frozenset(changelog_of(group_of(channel)) for channel in sinks())


@cache
def changelogs() -> frozenset[str]:
    """Returns the changelogs of domains."""
    return frozenset(domain.changelog for domain in DOMAINS.values())


def keys_of(record: Any) -> tuple[str, ...]:
    """Returns the ids by which a record is found: its key, or the part of it that names the thing."""
    key = (record.key or b"").decode("utf-8", "replace")
    if record.topic in changelogs():
        return (key.partition("\0")[2],)
    if record.topic in memories():
        kind, _, rest = key.partition("\0")
        if kind == "parked":
            return (rest[: -parking.DIGITS - 1],)
        return rest, rest.rpartition(":")[2]
    return (key,)


async def shown_as(reader: Reader, record: Any, personal: bool) -> Shown:
    """Returns the content of a record. Never raises for the content."""
    try:
        if record.topic == dead_letters.TOPIC:
            return await _letter(reader, record, personal)
        if record.topic in changelogs():
            return _state(record, personal)
        if record.topic in memories():
            return await _remembered(reader, record, personal)
        if record.value is None:
            return "tombstone", {"record": None}
        if not contracts(record.topic):
            return _json(record, personal)
        row = await reader.serde.decode(record.topic, record.value)
        return type(row).__name__, {"record": row_as_dict(row, personal=personal)}
    except UndecodableRecord as error:
        return "unreadable", {"error": str(error)}
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:  # of a version that is not ours, or a stranger's
        return "unreadable", {"error": f"{type(error).__name__}: {error}"}


def _state(record: Any, personal: bool) -> Shown:
    """Returns a table's state, which has its own encoding."""
    topic = record.key.decode().partition("\0")[0]
    if record.value is None:
        return "tombstone", {"aggregate": topic, "record": None}
    of = layout(topic)
    return "state", {"aggregate": topic, "record": state_as_dict(of, of.load(record.value), personal=personal)}


async def _letter(reader: Reader, record: Any, personal: bool) -> Shown:
    if (id := dead_letters.put_back_id(record)) is not None:
        return "put back", {"letter": id}
    letter = as_dict(record)
    said: Any = None
    if record.value is not None and dead_letters.LEFT_OUT not in dict(record.headers):
        try:
            said = row_as_dict(await reader.serde.decode(letter["topic"], record.value), personal=personal)
        except KounterError:
            said = None  # its message says why
    return "dead letter", {"letter": letter, "record": said}


async def _remembered(reader: Reader, record: Any, personal: bool) -> Shown:
    """Returns an entry of a delivery's changelog: a parked command, or a thing that was created."""
    if record.value is None:
        return "tombstone", {"record": None}
    if record.key.startswith(ledger.PREFIX):
        made = ledger.Made(*orjson.loads(record.value))
        return "made", {"record": made._asdict() | {"at": moment(made.at)}}
    if record.key == offset_tracker.TALLY:
        return "counts", {"record": asdict(offset_tracker.Tally.load(record.value))}
    if not record.key.startswith(parking.PREFIX):
        raise UndecodableRecord("unknown_record_type", "an entry of another version")
    parked = parking.load(record.key, record.value)
    place = {"topic": parked.topic, "partition": parked.partition, "offset": parked.offset, "cause": parked.cause}
    row = await reader.serde.decode(parked.topic, parked.value)
    return "parked", {"parked": place, "record": row_as_dict(row, personal=personal)}


def _json(record: Any, personal: bool) -> Shown:
    """Returns the record of a service that sends JSON: its personal fields are unknown, so all are masked."""
    said = orjson.loads(record.value)
    return "JSON", {"record": said if personal else _masked(said)}


def _masked(said: Any, depth: int = 0) -> Any:
    if depth > DEEPEST:
        return "…"
    if isinstance(said, dict):
        return {name: _masked(value, depth + 1) for name, value in said.items()}
    if isinstance(said, list):
        return [_masked(value, depth + 1) for value in said]
    return said if said is None or isinstance(said, bool) else mask(said)
