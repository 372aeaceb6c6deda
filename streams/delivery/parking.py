"""Parking: commands that an outside refuses for their data, and all later ones of their key, in their order.

Only which keys are parked is in memory; the commands, whole and with the reason, are in the delivery's changelog.
"""

from __future__ import annotations

import base64
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from schemas.errors import KounterError
from streams.delivery.state import DeliveryState, Write
from streams.kafka.dead_letters import ORIGINAL, REASON, dead_letter
from streams.kafka.transactions import ProducerRecord

PREFIX: Final = b"parked\0"
STAGE: Final = "deliver"
DIGITS: Final = 20
ERRORS: Final = "__connect.errors."
SINCE: Final = "kounter.parked_at"
"""Milliseconds since the epoch."""

EDITED, EDITS = "kounter.edited_from", "kounter.edits"
"""Headers of a command that an order changed: the record that it was, and by field what was asked and is to be done."""


class ParkedBehind(KounterError):
    """A command of a key whose earlier command was refused: it was not tried, as it would overtake that one."""

    code = "parked_behind"
    hint = "It goes on with the one before it: `kounter parked retry` or `kounter parked drop`."


class Parked(NamedTuple):
    """A parked command, with what a record of its topic has."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    """Its own."""
    errors: dict[str, str]
    """Why it is here: names as in a dead letter."""

    def edited(self, value: bytes, differences: Mapping[str, Sequence[Any]]) -> Parked:
        """With other bytes, and headers that say where the old ones still are and what is other than asked."""
        place = f"{self.topic}-{self.partition}@{self.offset}".encode()
        before = orjson.loads(self.edits or "{}")
        first = {name: [before.get(name, pair)[0], pair[1]] for name, pair in differences.items()}
        edits = {name: pair for name, pair in (before | first).items() if pair[0] != pair[1]}
        own = (h for h in self.headers if h[0] not in (EDITED, EDITS))
        return self._replace(value=value, headers=(*own, (EDITED, place), (EDITS, orjson.dumps(edits))))

    @property
    def edits(self) -> str | None:
        """JSON of what a person changed: by field what was asked and what is to be done. None: nothing."""
        found = dict(self.headers).get(EDITS)
        return None if found is None else found.decode()

    @property
    def cause(self) -> str:
        """For people and histograms: numbers are left out, so that the same cause has one name."""
        return re.sub(
            r"\d+", "#", f"{self.errors.get(REASON, '')}: {self.errors.get(ERRORS + 'exception.message', '')}"
        )


class Parking:
    """Of one partition of commands."""

    def __init__(self, state: DeliveryState) -> None:
        self._state = state
        self._counts = Counter(key[len(PREFIX) : -DIGITS - 1] for key, _ in state.scan(PREFIX))
        self.records = self._counts.total()
        """Parked now."""

    def __contains__(self, key: bytes | None) -> bool:
        return key in self._counts

    @property
    def keys(self) -> int:
        """Parked now."""
        return len(self._counts)

    def park(self, record: Any, error: KounterError) -> Write:
        """To be written: a command that is parked from now on, the last of its key."""
        self._counts[record.key] += 1
        self.records += 1
        return self._entry(record, error, str(time.time_ns() // 1_000_000))

    def keep(self, parked: Parked, error: KounterError) -> Write:
        """To be written: a parked command that stays, refused again."""
        return self._entry(parked, error, parked.errors[SINCE])

    def release(self, parked: Parked) -> Write:
        """To be written: a parked command that is done, or dropped."""
        self._counts[parked.key] -= 1
        self.records -= 1
        if not self._counts[parked.key]:
            del self._counts[parked.key]
        return self._state.changelog, ProducerRecord(_key(parked.key, parked.offset), None)

    def next(self, key: bytes, after: int = -1) -> Parked | None:
        """The first parked command of a key beyond the offset ``after``."""
        prefix = PREFIX + key + b"\0"
        for found, value in self._state.scan(prefix, _key(key, after + 1)):
            if len(found) == len(prefix) + DIGITS:  # a key may go on with a zero byte too
                return load(found, value)
        return None

    def _entry(self, record: Any, error: KounterError, since: str) -> Write:
        letter = dead_letter(record.topic, record, error, STAGE)
        headers = [*letter.headers, (SINCE, since.encode())]
        head = orjson.dumps([(name, base64.b64encode(value or b"").decode()) for name, value in headers])
        entry = ProducerRecord(_key(record.key, record.offset), head + b"\n" + record.value)
        return self._state.changelog, entry


def is_name(key: bytes | None) -> bool:
    """Whether a person can say what shall become of the key's commands: what is parked else would stay for ever."""
    try:
        return bool(key and key.decode())
    except UnicodeDecodeError:
        return False


def load(key: bytes, entry: bytes) -> Parked:
    """A parked command from its entry in the changelog."""
    head, value = entry.split(b"\n", 1)
    headers = [(name, base64.b64decode(text)) for name, text in orjson.loads(head)]
    own = tuple((name.removeprefix(ORIGINAL), text) for name, text in headers if name.startswith(ORIGINAL))
    errors = {name: text.decode("utf-8", "replace") for name, text in headers if not name.startswith(ORIGINAL)}
    return Parked(
        topic=errors[ERRORS + "topic"],
        partition=int(errors[ERRORS + "partition"]),
        offset=int(errors[ERRORS + "offset"]),
        timestamp=int(errors["kounter.timestamp"]),
        key=key[len(PREFIX) : -DIGITS - 1],
        value=value,
        headers=own,
        errors=errors,
    )


def _key(key: bytes, offset: int) -> bytes:
    return PREFIX + key + b"\0" + b"%0*d" % (DIGITS, offset)
