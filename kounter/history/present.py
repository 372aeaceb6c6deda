"""Rows, states and times as people read them in tables, and programs as JSON."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from kounter.connectors import all_topics
from schemas.errors import InvalidInput
from schemas.record import contract
from streams.aggregate import Aggregate, Domain
from streams.domains import DOMAINS
from tables.layout import Layout, State, kinds_of, mask
from tables.timeline import Entry, PutAside

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ELDER = ("crm.user",)
"""Topics that keep their short name, although another domain has a thing of that name since."""
LONGEST_NAME = 80
"""Characters of a name that is searched."""


def find_aggregate(name: str) -> tuple[Domain, Aggregate]:
    """Returns the aggregate with the name (see `names_of`), if only one has it, or the elder of two. Raises
    InvalidInput that lists all."""
    known = {a.topic: (domain, a) for domain in DOMAINS.values() for a in domain.aggregates}
    meant = cleaned(name)
    found = _elder([topic for topic in known if meant in names_of(topic)])
    if len(found) != 1:
        raise InvalidInput("aggregate", "one that there is", name, hint=near(meant, known))
    return known[found[0]]


def _elder(topics: list[str]) -> list[str]:
    """Returns, of topics that differ in their domain alone, the one that is or belongs to one of `ELDER`, else all."""
    things = {topic.partition(".")[2] for topic in topics}
    return [t for t in topics if len(things) == 1 and t.startswith(ELDER)] or topics


def find_topic(name: str, others: Iterable[str] = ()) -> str:
    """Returns an aggregate's topic, or any other of our topics, by its whole name or the end of it (``user.commands``),
    if only one has it. ``others`` are further topics of this deployment. Raises InvalidInput that lists all."""
    with suppress(InvalidInput):
        return find_aggregate(name)[1].topic
    known = dict.fromkeys([*(topic.name for topic in all_topics()), *others])
    if name in known:
        return name
    found = _elder([topic for topic in known if topic.endswith(f".{name}")]) if name else []
    if len(found) != 1:
        raise InvalidInput("topic", "one that there is", name, hint=near(name, found or known))
    return found[0]


def cleaned(name: str) -> str:
    """Returns ``/api/estate/leads`` as ``estate.leads``."""
    return name.removeprefix("/").removeprefix("api/").replace("/", ".")


def names_of(topic: str) -> set[str]:
    """Returns the names that people use for an aggregate: its topic or the last part of it, singular or plural, as in
    an address or in SQL."""
    domain, _, thing = topic.partition(".")
    names = {thing, plural(thing), topic, f"{domain}.{plural(thing)}"}
    return names | {name.replace("-", "_") for name in names} | {topic.replace(".", "_").replace("-", "_")}


def near(name: str, topics: Iterable[str]) -> str:
    """Returns a hint: the topic that is probably meant, and all topics."""
    known = list(topics)
    spelt = {spelling: topic for topic in known for spelling in names_of(topic)}
    close = difflib.get_close_matches(name.casefold()[:LONGEST_NAME], spelt, 1)
    meant = f"Did you mean {spelt[close[0]]}? " if close else ""
    return f"{meant}There are: {', '.join(known)}."


def plural(name: str) -> str:
    """Returns the plural of a thing's name: cities, leads."""
    return name[:-1] + "ies" if name.endswith("y") else name + "s"


def moment(micros: int) -> str:
    """Returns a time in ISO 8601, UTC; outside the years 1 to 9999, which producers may send, the number itself."""
    try:
        return (EPOCH + timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return f"{micros} µs"


def row_as_dict(row: Any, *, personal: bool = False) -> dict[str, Any]:
    """Returns the fields of a record that are present, as JSON has them."""
    of = contract(type(row))
    pairs = zip(of.fields, row, strict=True)
    return plain(pairs, kinds_of(of), frozenset() if personal else of.personal)


def state_as_dict(layout: Layout, state: State, *, personal: bool = False) -> dict[str, Any]:
    """Returns the fields of a state that are known, as JSON has them."""
    pairs = zip(layout.fields, state, strict=False)
    return plain(pairs, layout.kinds, frozenset() if personal else layout.personal)


def entry_as_dict(layout: Layout, entry: Entry, *, personal: bool = False) -> dict[str, Any]:
    """Returns a line of a timeline, as JSON has it."""
    said, hidden = entry.said, frozenset[str]() if personal else layout.personal
    before, after = ({n: pair[i] for n, pair in entry.changed.items()} for i in (0, 1))
    old, new = plain(before.items(), layout.kinds, hidden), plain(after.items(), layout.kinds, hidden)
    line = {
        "time": moment(said.meta.time),
        "record": entry.kind,
        "source": said.meta.source,
        "id": said.meta.id,
        "partition": said.partition,
        "offset": said.offset,
        "verdict": entry.verdict,
        "changed": {name: [old.get(name), new.get(name)] for name in entry.changed},
        "version": None if entry.after is None else entry.after.version,
    }
    if isinstance(said.row, Exception):
        line["error"] = str(said.row)
    if isinstance(why := said.row, PutAside):
        told = {"reason": why.reason, "letter": why.letter, "put_back": why.put_back, "again": why.again}
        line |= {name: value for name, value in told.items() if value is not None}
    return line


def plain(
    pairs: Iterable[tuple[str, Any]], kinds: Mapping[str, str], hidden: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """Returns fields that have a value, as JSON has them: money as text, times as ISO 8601, hidden ones masked. A
    number that JSON can't represent (NaN, infinity) counts as no value."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if value is None or value == () or (isinstance(value, float) and not math.isfinite(value)):
            continue
        if name in hidden:
            found[name] = mask(value)
        elif kinds.get(name) == "timestamp-micros":
            found[name] = moment(value)
        elif isinstance(value, Decimal):
            found[name] = str(value)
        else:
            found[name] = list(value) if isinstance(value, tuple) else value
    return found
