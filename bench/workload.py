"""The one job that every engine does: decode an Avro record of 21 fields, merge it over the state of its ``ext_id``
unless its ``update_id`` is old, keep the state in a local store with a changelog, and write an output for each change
of status."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from schemas.fields import Float, Int, Label, Micros, Text, Texts
from schemas.record import namespace
from streams.aggregate import Aggregate, Cause, Domain, Outgoing
from tables.layout import State

record = namespace("workload")

SOURCE: Final = "bench.premise"
OUTBOX: Final = "bench.status"
PARTITIONS: Final = 4
KEYS: Final = 20_000


class Kind(Label):
    FLAT = "FLAT", "flat"
    PARKING = "PARKING", "parking"
    STORAGE = "STORAGE", "storage"
    OFFICE = "OFFICE", "office"


class Status(Label):
    FREE = "FREE", "free"
    BOOKED = "BOOKED", "booked"
    SOLD = "SOLD", "sold"
    HIDDEN = "HIDDEN", "hidden"


@record(SOURCE, key="ext_id")
class Premise(NamedTuple):
    """A premise, as large as a real one."""

    ext_id: Text
    update_id: Int | None = None
    name: Text | None = None
    kind: Kind | None = None
    building_ext_id: Text | None = None
    section_ext_id: Text | None = None
    price: Int | None = None
    size: Float | None = None
    status: Status | None = None
    floor: Int | None = None
    rooms: Int | None = None
    photo: Text | None = None
    photos: Texts | None = None
    is_sold: bool | None = None
    link: Text | None = None
    number: Text | None = None
    ceiling: Float | None = None
    finish: Text | None = None
    updated_at: Micros | None = None
    area: Float | None = None
    discount: Int | None = None


@record(OUTBOX, key="ext_id")
class StatusChanged(NamedTuple):
    """The output for other systems."""

    ext_id: Text
    update_id: Int = 0
    old: Status | None = None
    new: Status | None = None
    updated_at: Micros = 0


def react(before: State | None, after: State | None, event: Any, cause: Cause) -> list[Outgoing]:
    """Returns one record for each change of status."""
    if after is None:
        return []
    old = None if before is None else before.status
    if after.status == old:
        return []
    return [Outgoing(OUTBOX, StatusChanged(after.ext_id, after.update_id or 0, old, after.status, after.updated_at))]


def domain(run: str) -> Domain:
    """Returns a domain, and so a group and a changelog, of its own for each run over the same input."""
    return Domain(run, (Aggregate(SOURCE, react=react),), (OUTBOX,))


def premises(n: int, seed: int = 1) -> Iterator[Premise]:
    """Returns full records for new keys and four of five others; 5 % are duplicates or older."""
    dice = random.Random(seed)
    last = [0] * KEYS
    for i in range(n):
        k = i if i < KEYS else dice.randrange(KEYS)
        if last[k] and dice.random() < 0.05:
            number = last[k] - dice.randrange(0, 2)
        else:
            number = last[k] = last[k] + dice.randrange(1, 3)
        status = dice.choice(list(Status)) if dice.random() < 0.55 else None
        row = Premise(f"prm-{k:07}", number, status=status, updated_at=1_700_000_000_000_000 + i)
        if last[k] <= 2 or dice.random() < 0.8:
            row = row._replace(
                name=f"Premise number {k} in the building",
                kind=dice.choice(list(Kind)),
                building_ext_id=f"bld-{k % 300:05}",
                section_ext_id=f"sec-{k % 900:05}",
                price=dice.randrange(3_000_000, 30_000_000),
                size=dice.random() * 100,
                floor=k % 25,
                rooms=k % 5,
                photo=f"https://cdn.example/p/{k:07}/0.jpg",
                photos=tuple(f"https://cdn.example/p/{k:07}/{j}.jpg" for j in range(2)),
                is_sold=dice.random() < 0.3,
                link=f"https://example/prm/{k:07}",
                number=f"N-{k}",
                ceiling=2.7,
                finish="white box",
                area=dice.random() * 60,
                discount=dice.randrange(20),
            )
        yield row


class Digest(NamedTuple):
    """A digest of all states and outputs that shows a wrong result."""

    keys: int
    update_ids: int
    prices: int
    outputs: int


def merge(state: dict[str, Any] | None, event: dict[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
    """The job in plain Python, as the peers do it: the new state (None: ignored) and the old status if it changed."""
    if state is None:
        return event, ("" if event["status"] is not None else None)
    if event["update_id"] <= state["update_id"]:
        return None, None
    old = state["status"]
    merged = {**state, **{name: value for name, value in event.items() if value is not None}}
    return merged, ((old or "") if merged["status"] != old else None)


def reference(n: int) -> Digest:
    """Returns the digest by `merge` over the whole input."""
    states: dict[str, dict[str, Any]] = {}
    outputs = 0
    for row in premises(n):
        state, changed = merge(states.get(row.ext_id), row._asdict())
        if state is not None:
            states[row.ext_id] = state
        outputs += changed is not None
    return digest(states.values(), outputs)


def digest(states: Iterable[dict[str, Any]], outputs: int) -> Digest:
    """Returns the digest of states as dicts."""
    keys = update_ids = prices = 0
    for state in states:
        keys, update_ids, prices = keys + 1, update_ids + state["update_id"], prices + (state["price"] or 0)
    return Digest(keys, update_ids, prices, outputs)


def save(result: dict[str, Any], path: Path) -> None:
    """Write a worker's measurement for the process that started it."""
    path.write_text(json.dumps(result), "utf-8")
