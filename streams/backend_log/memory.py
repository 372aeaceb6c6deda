"""The memory of the log's writer: the subjects that are in the log, and the changes that it holds.

Both stand in a compacted changelog of one partition, written in the transaction of the log's records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

import orjson

from schemas.backend import BackendChange
from streams.backend_log.parents_first import Effects, Held
from streams.kafka.transactions import ProducerRecord

WRITTEN: Final = b"written\0"
MOST_KNOWN: Final = 50_000
"""Subjects that are remembered beside the store; about 10 MB."""
HELD: Final = b"held\0"
DIGITS: Final = 20
_IS: Final = b"1"


def entries(effects: Effects) -> list[ProducerRecord]:
    """Returns the changelog's records of a batch."""
    return [
        *(ProducerRecord(WRITTEN + subject.encode(), _IS) for subject in effects.written),
        *(ProducerRecord(_key(held.number), _dump(held)) for held in effects.held),
        *(ProducerRecord(_key(number), None) for number in effects.gone),
    ]


def stored(get: Callable[[bytes], bytes | None]) -> Callable[[str], bool]:
    """Returns the question whether a subject is in the log, put to a store of these entries. A yes is remembered, as it
    stays one: most changes have the parents of others."""
    known: set[str] = set()

    def is_stored(subject: str) -> bool:
        if subject in known:
            return True
        if get(WRITTEN + subject.encode()) is None:
            return False
        if len(known) >= MOST_KNOWN:
            known.clear()
        known.add(subject)
        return True

    return is_stored


def held_in(found: Iterable[tuple[bytes, bytes]]) -> list[Held]:
    """Returns the held changes among entries, in order of arrival."""
    return sorted(_load(key, value) for key, value in found if key.startswith(HELD))


class Waiting(NamedTuple):
    """A held change, and the subjects that are not in the log yet; none for one that waits behind an earlier change of
    its own subject."""

    held: Held
    missing: tuple[str, ...]


def waiting_in(found: Mapping[bytes, bytes]) -> list[Waiting]:
    """Returns the held changes of a whole memory, the oldest first."""
    return [
        Waiting(
            held, tuple(s for s in held.change.parents + held.change.references if WRITTEN + s.encode() not in found)
        )
        for held in held_in(found.items())
    ]


def _key(number: int) -> bytes:
    return HELD + b"%0*d" % (DIGITS, number)


def _dump(held: Held) -> bytes:
    headers = [[name, value.decode("latin-1")] for name, value in held.headers if value is not None]
    return orjson.dumps([held.since_ms, list(held.change), headers, held.at_ms])


def _load(key: bytes, value: bytes) -> Held:
    since, (subject, type, ext_id, frame, parents, references), headers, at = orjson.loads(value)
    change = BackendChange(subject, type, ext_id, frame, tuple(parents), tuple(references))
    return Held(int(key.removeprefix(HELD)), since, change, tuple((n, v.encode("latin-1")) for n, v in headers), at)
