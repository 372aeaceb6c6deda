"""The twin's stream: the company's changes, numbered, with the faults of a real feed among them.

The same arguments give the same frames, byte for byte, so that a check can fold the same sequence again. Faults never
lose a change: a broken frame is an extra one with a number of its own.
"""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import Any, Final, NamedTuple

from adapters.brusnika.twin.developer import Developer, Row
from adapters.brusnika.twin.frames import data_frame
from adapters.brusnika.twin.front import Front
from schemas.record import contract

FAULTS: Final = 0.05
"""Share of changes with a fault, by default."""
KINDS: Final = ("late", "duplicate", "gap", "broken")
SHARES: Final = (3, 3, 1, 3)
PARENTS: Final = ("estate.project", "estate.building", "estate.section")
"""These are rare: they are late more often than others, so that children come before their parents now and then."""
LATEST: Final = 20
"""Changes by which a late one is behind, at most."""
LATEST_FIRST: Final = 100
"""The same for the first change of an aggregate: long enough for its children to come before it."""


class Change(NamedTuple):
    """One frame of the feed."""

    update_id: int
    frame: bytes
    row: Row | None
    """The row that a reader must get; None if the frame is broken."""
    fault: str | None = None
    """``duplicate``, ``late`` or the name of a way to be broken (`BROKEN`)."""


class _Held(NamedTuple):
    release: int  # the turn at which it is let go
    change: Change
    key: tuple[str, str]
    first: bool  # of its aggregate: goes before the next one of the same


def changes(seed: int, n: int | None = None, *, faults: float = FAULTS, people: bool = False) -> Iterator[Change]:
    """Returns the first ``n`` frames, or an endless stream. ``faults``: a share from 0 to 1. ``people``: with agencies,
    users, clients, visits, bookings, time slots and tasks, every third change.

    Kinds: duplicates (at once or some frames later), late ones (a parent after its child, an older status after a newer
    one; but the first change of an aggregate is never overtaken by a later one of the same), gaps in the numbers, and
    broken ones of every kind in `BROKEN`.
    """
    return islice(_disturbed(_company(seed, people), seed, faults), n)


def _company(seed: int, people: bool) -> Iterator[Row]:
    developer, front = iter(Developer(seed)), iter(Front(seed))
    for turn in count():
        yield next(front if people and turn % 3 == 2 else developer)


def _disturbed(company: Iterator[Row], seed: int, faults: float) -> Iterator[Change]:
    pick, numbers = random.Random(f"faults/{seed}"), count(1)
    broken = _forever(sorted(BROKEN))
    newest: dict[str, int] = {}  # topic -> highest number in a key: a higher one is new
    held: deque[_Held] = deque()
    recent: deque[Change] = deque(maxlen=LATEST)
    for turn, bare in enumerate(company):
        change, key = _number(bare, next(numbers)), _key(bare)
        topic, place = key[0], int(key[1].rpartition("-")[2])
        first = place > newest.get(topic, 0)
        newest[topic] = max(place, newest.get(topic, 0))
        for due in [h for h in held if h.release <= turn or (h.first and h.key == key)]:
            held.remove(due)
            yield due.change
        fault = pick.choices(KINDS, SHARES)[0] if pick.random() < faults else None
        if first and topic in PARENTS and pick.random() < 4 * faults:
            fault = "late"
        if fault == "late":
            release = turn + pick.randint(2, LATEST_FIRST if first else LATEST)
            held.append(_Held(release, change._replace(fault="late"), key, first))
            continue
        yield change
        recent.append(change)
        if fault == "duplicate":
            yield pick.choice((change, pick.choice(recent)))._replace(fault="duplicate")
        elif fault == "gap":
            for _ in range(pick.randint(1, 3)):
                next(numbers)
        elif fault == "broken":
            name = next(broken)
            number = next(numbers)
            yield Change(number, BROKEN[name](number), None, name)


def _number(bare: Row, update_id: int) -> Change:
    counter = contract(type(bare)).counter or ""
    row = bare._replace(**{counter: update_id})  # type: ignore[attr-defined]  # rows are named tuples
    return Change(update_id, data_frame(row), row)


def _key(row: Row) -> tuple[str, str]:
    known = contract(type(row))
    return known.topics[0], getattr(row, known.key)


def _forever(names: list[str]) -> Iterator[str]:
    while True:
        yield from names


def _said(word: object, body: object) -> bytes:
    return json.dumps({"data": {"type": word, "data": body}, "error": None}, ensure_ascii=False).encode()


def _premise(update_id: int, **fields: Any) -> bytes:
    return _said("premise", {"ext_id": f"broken-{update_id}", "update_id": update_id, **fields})


BROKEN: Final[dict[str, Callable[[int], bytes]]] = {
    "not_json": lambda n: f'{{"data": {{"type": "premise", "data": {{"update_id": {n}'.encode(),
    "not_utf8": lambda n: _premise(n, name="Квартира").replace("К".encode(), b"\xd0"),
    "nan": lambda n: _premise(n, size=float("nan")),
    "too_deep": lambda n: _premise(n, name="?").replace(b'"?"', b"[" * 500 + b"]" * 500),
    "not_an_object": lambda n: f"[{n}]".encode(),
    "no_data": lambda n: b'{"data": null, "error": null}',
    "unknown_type": lambda n: _said("spaceship", {"ext_id": f"broken-{n}", "update_id": n}),
    "unknown_word": lambda n: _premise(n, type="замок"),
    "no_ext_id": lambda n: _said("lead", {"update_id": n, "state": "Активные"}),
    "wrong_type": lambda n: _premise(n, floor="третий"),
    "price_above_64_bits": lambda n: _premise(n, price=2**64),
}
"""Functions that return a broken frame of each kind for an `update_id`."""
