"""Parked commands, from the deliveries' changelogs, and orders for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from kounter.history.present import moment
from kounter.history.reader import Reader
from schemas.parking import ParkedAction, ParkedOrder, edited
from streams.delivery.parking import EDITED, ERRORS, PREFIX, SINCE, Parked, ParkedBehind, load
from streams.kafka.dead_letters import REASON


class Placed(NamedTuple):
    """An order, with the place of its commands, which is also right if a producer chose a wrong partition."""

    topic: str
    partition: int
    order: ParkedOrder


async def read_parked(reader: Reader, *changelogs: str) -> list[Parked]:
    """Returns all commands that are parked now; those of each key are together and in order."""
    found = []
    for changelog in changelogs:
        latest: dict[tuple[int, bytes], tuple[int, bytes | None]] = {}
        async for record in reader.topics.read(changelog):
            # Not in the order of a partition's offsets where the clock went back.
            place = record.partition, record.key
            if record.key.startswith(PREFIX) and record.offset > latest.get(place, (-1,))[0]:
                latest[place] = record.offset, record.value
        found += [load(key, value) for (_, key), (_, value) in latest.items() if value is not None]
    return sorted(found, key=lambda p: (p.topic, p.key, p.partition, p.offset))


def chosen(parked: Iterable[Parked], key: str | None, cause: str | None) -> list[Parked]:
    """Returns those of a key, and those whose cause contains the words, in any case."""
    return [
        p
        for p in parked
        if (key is None or p.key == key.encode()) and (cause is None or cause.casefold() in p.cause.casefold())
    ]


def line_of(parked: Parked) -> tuple[str, int, bytes]:
    """Returns the line of a command: commands that are parked behind each other have the same."""
    return parked.topic, parked.partition, parked.key


def heads(parked: Iterable[Parked]) -> list[Parked]:
    """Returns the first command of each key."""
    found: dict[tuple[str, int, bytes], Parked] = {}
    for p in parked:
        found.setdefault(line_of(p), p)
    return list(found.values())


def by_cause(parked: Iterable[Parked]) -> list[tuple[str, int]]:
    """Returns the number of commands by cause, most first."""
    return Counter(p.cause for p in parked).most_common()


async def retries(reader: Reader, firsts: Iterable[Parked], changes: dict[str, str], by: str) -> list[Placed]:
    """Returns an order for each key, to retry it from its first command on. Raises InvalidInput if the changes don't
    fit a command."""
    edit = orjson.dumps({n: v or None for n, v in changes.items()}).decode() if changes else None
    found = []
    for first in firsts:
        if edit is not None:
            edited(await reader.serde.decode(first.topic, first.value), edit)
        order = ParkedOrder(first.key.decode(), ParkedAction.RETRY, (first.offset,), edit, by)
        found.append(Placed(first.topic, first.partition, order))
    return found


def drops(parked: Iterable[Parked], by: str) -> list[Placed]:
    """Returns an order for each key that names the commands to drop: those that are parked meanwhile stay."""
    offsets: dict[tuple[str, int, bytes], list[int]] = {}
    for p in parked:
        offsets.setdefault(line_of(p), []).append(p.offset)
    return [
        Placed(topic, partition, ParkedOrder(key.decode(), ParkedAction.DROP, tuple(those), None, by))
        for (topic, partition, key), those in offsets.items()
    ]


def as_dict(parked: Parked) -> dict[str, Any]:
    """Returns a parked command for people and programs, without its content."""
    return {
        "key": parked.key.decode("utf-8", "replace"),
        "offset": parked.offset,
        "partition": parked.partition,
        "topic": parked.topic,
        "since": moment(int(parked.errors[SINCE]) * 1_000),
        "reason": parked.errors[REASON],
        "behind": parked.errors[REASON] == ParkedBehind.code,
        "message": parked.errors[ERRORS + "exception.message"],
        "hint": parked.errors["kounter.hint"],
        "cause": parked.cause,
        "edited_from": dict(parked.headers).get(EDITED, b"").decode("utf-8", "replace") or None,
    }
