"""A digest per row of the last file, and the differences that a new file makes. Pure and small: 200,000 rows take
40 MB."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from enum import Enum, auto
from functools import cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from schemas.estate import Premise, PremiseStatus
from schemas.record import SEQUENCE, UNSET, contract

Row = tuple[Any, ...]
_DIGEST: Final = 8
GONE: Final = "gone_since"
_PREMISE: Final = "premise/"
_FREE: Final[dict[str, Any]] = {"status": PremiseStatus.FREE.value}
_TAKEN: Final[dict[str, Any]] = {"status": PremiseStatus.TAKEN.value}


class Said(Enum):
    """The relation of a row to what the feed said before."""

    NEW = auto()
    CHANGED = auto()
    RETURNED = auto()
    SAME = auto()
    TWICE = auto()
    """Its id came before in this file."""


class Difference(NamedTuple):
    """A row to write, and the entry that is remembered once it is written."""

    row: Row
    entry: bytes


def key_of(record: type[Row], ext_id: str) -> str:
    """Returns the key of a row in `Known`."""
    return f"{contract(record).outside}/{ext_id}"


def entry_of(row: Row) -> bytes:
    """Returns the entry of a row: its digest, then the names of the fields that it has, separated by commas."""
    names, places = _present(type(row), tuple([value is None for value in row]))
    said = repr([row[place] for place in places])
    return blake2b(said.encode("utf-8", "surrogatepass") + names, digest_size=_DIGEST).digest() + names


@cache
def _present(record: type[Row], absent: tuple[bool, ...]) -> tuple[bytes, tuple[int, ...]]:
    """Returns the names of the fields that are there, and their places, in alphabetical order: a record class that
    gets another order of fields must not change every digest."""
    fields = contract(record).fields
    places = {name: place for place, name in enumerate(fields) if place and not absent[place]}
    names = sorted(places.keys() - {SEQUENCE, UNSET})
    return ",".join(names).encode(), tuple(places[name] for name in names)


class Known:
    """The entries of a feed by key. A row whose names hold `GONE` was gone in the last file."""

    def __init__(self) -> None:
        self._at: dict[str, int] = {}
        self._digests = array("Q")
        self._names = array("L")
        self._sets: dict[bytes, int] = {}
        self._listed: list[bytes] = []
        self._seen = bytearray()

    def load(self, key: str, entry: bytes) -> None:
        """Note an entry that was remembered."""
        at = self._place(key)
        self._digests[at] = int.from_bytes(entry[:_DIGEST])
        self._names[at] = self._set(entry[_DIGEST:])

    def take(self, row: Row) -> tuple[Said, Difference | None]:
        """Note a row of the file. Returns the difference, None if there is none."""
        key, entry = key_of(type(row), row[0]), entry_of(row)
        at = self._place(key)
        if self._seen[at]:
            return Said.TWICE, None
        self._seen[at] = 1
        before = self._listed[self._names[at]]
        if not before:  # never remembered, or remembered without any field
            return Said.NEW, Difference(row, entry)
        if self._digests[at] == int.from_bytes(entry[:_DIGEST]):
            return Said.SAME, None
        cleared = _cleared(before, entry[_DIGEST:])
        returned = GONE in cleared
        if returned and isinstance(row, Premise) and row.status is None:  # of a list that names no status
            row = row._replace(**_FREE)
            cleared = tuple(name for name in cleared if name != "status")
        written = row._replace(unset=cleared)  # type: ignore[attr-defined]
        return (Said.RETURNED if returned else Said.CHANGED), Difference(written, entry)

    def saw(self, record: type[Row], ext_id: str) -> Said:
        """Note the id of a row that was refused: it is not gone. Returns `Said.TWICE` if it came before."""
        at = self._place(key_of(record, ext_id))
        twice, self._seen[at] = self._seen[at], 1
        return Said.TWICE if twice else Said.SAME

    def count(self, record: type[Row]) -> int:
        """Returns the number of rows of a type that the feed listed last time."""
        return sum(self._is_listed(at) for at in self._of(record))

    def missing(self, record: type[Row]) -> int:
        """Returns how many of them the file does not have."""
        return sum(self._is_listed(at) and not self._seen[at] for at in self._of(record))

    def gone(self, at_micros: int) -> Iterator[Difference]:
        """Returns a difference for each premise that the file does not have."""
        for key, at in self._at.items():
            if key.startswith(_PREMISE) and self._is_listed(at) and not self._seen[at]:
                names = b",".join([self._listed[self._names[at]], GONE.encode()])
                row = Premise(key.removeprefix(_PREMISE), **_TAKEN, gone_since=at_micros)
                yield Difference(row, bytes(_DIGEST) + names)

    def _of(self, record: type[Row]) -> Iterator[int]:
        begin = key_of(record, "")
        return (at for key, at in self._at.items() if key.startswith(begin))

    def _is_listed(self, at: int) -> bool:
        names = self._listed[self._names[at]]
        return bool(names) and GONE.encode() not in names

    def _place(self, key: str) -> int:
        at = self._at.get(key)
        if at is None:
            at = self._at[key] = len(self._digests)
            self._digests.append(0)
            self._names.append(self._set(b""))
            self._seen.append(0)
        return at

    def _set(self, names: bytes) -> int:
        at = self._sets.get(names)
        if at is None:
            at = self._sets[names] = len(self._listed)
            self._listed.append(names)
        return at


@cache
def _cleared(before: bytes, now: bytes) -> tuple[str, ...]:
    """Returns the fields that the feed said before and says no more."""
    kept = set(now.decode().split(","))
    return tuple(name for name in before.decode().split(",") if name not in kept)
