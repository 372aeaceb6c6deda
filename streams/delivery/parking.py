"""Parking: commands that an outside system refuses for their data, and all later ones of their key, in their order.

Memory holds only the keys that are parked; the whole commands with the reasons are in the delivery's changelog.
"""

from __future__ import annotations

import base64
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from schemas.errors import DeliveryError, KounterError, shorten
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
"""Headers of a command that an order changed: the original record, and by field the value asked for and the new one."""


class ParkedBehind(KounterError):
    """A command of a key whose earlier command was refused: it was not tried, as it would overtake that one."""

    code = "parked_behind"
    hint = "It goes on with the one before it: `kounter parked retry` or `kounter parked drop`."


class ParkedByOrder(DeliveryError):
    """A command that a person took out of its retries, so that its key goes on under the rules of parked commands."""

    code = "parked_by_order"
    kind = "failed"
    hint = "`kounter parked retry` once the cause is gone, or `drop`; commands of its key wait behind it."

    def __init__(self, by: str, attempts: int, error: DeliveryError | None) -> None:
        """``error`` is that of the last attempt."""
        last = "" if error is None else f": {error.message}"
        super().__init__(f"parked by {shorten(by)} after {attempts} failed attempts{last}")


class Parked(NamedTuple):
    """A parked command, with the fields of a record of its topic."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    """Headers of the command's record."""
    errors: dict[str, str]
    """Reason for parking, under the names of a dead letter's headers."""

    def edited(self, value: bytes, differences: Mapping[str, Sequence[Any]]) -> Parked:
        """Returns it with other bytes, and headers with the place of the original record and the changes."""
        place = f"{self.topic}-{self.partition}@{self.offset}".encode()
        before = orjson.loads(self.edits or "{}")
        first = {name: [before.get(name, pair)[0], pair[1]] for name, pair in differences.items()}
        edits = {name: pair for name, pair in (before | first).items() if pair[0] != pair[1]}
        own = (h for h in self.headers if h[0] not in (EDITED, EDITS))
        return self._replace(value=value, headers=(*own, (EDITED, place), (EDITS, orjson.dumps(edits))))

    @property
    def edits(self) -> str | None:
        """Returns the JSON of a person's changes: by field the value asked for and the new one. None: no changes."""
        found = dict(self.headers).get(EDITS)
        return None if found is None else found.decode()

    @property
    def cause(self) -> str:
        """Returns the reason for people and histograms, without numbers, so that the same cause has one name."""
        return re.sub(
            r"\d+", "#", f"{self.errors.get(REASON, '')}: {self.errors.get(ERRORS + 'exception.message', '')}"
        )


class Parking:
    """Parked commands of one partition."""

    def __init__(self, state: DeliveryState) -> None:
        self._state = state
        self._counts = Counter(key[len(PREFIX) : -DIGITS - 1] for key, _ in state.scan(PREFIX))
        self.records = self._counts.total()
        """Commands that are parked now."""

    def __contains__(self, key: bytes | None) -> bool:
        return key in self._counts

    @property
    def keys(self) -> int:
        """Returns the number of keys that are parked now."""
        return len(self._counts)

    def park(self, record: Any, error: KounterError) -> Write:
        """Park a command as the last of its key. Returns the entry to write."""
        self._counts[record.key] += 1
        self.records += 1
        return self._entry(record, error, str(time.time_ns() // 1_000_000))

    def keep(self, parked: Parked, error: KounterError) -> Write:
        """Returns the entry to write for a parked command that stays, refused again."""
        return self._entry(parked, error, parked.errors[SINCE])

    def release(self, parked: Parked) -> Write:
        """Remove a parked command that is done or dropped. Returns the entry to write."""
        self._counts[parked.key] -= 1
        self.records -= 1
        if not self._counts[parked.key]:
            del self._counts[parked.key]
        return self._state.changelog, ProducerRecord(_key(parked.key, parked.offset), None)

    def next(self, key: bytes, after: int = -1) -> Parked | None:
        """Returns the first parked command of a key beyond the offset ``after``, None if there is none."""
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
    """Returns whether an order can name the key: commands of other keys would stay parked for ever."""
    try:
        return bool(key and key.decode())
    except UnicodeDecodeError:
        return False


def load(key: bytes, entry: bytes) -> Parked:
    """Returns a parked command from its entry in the changelog."""
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
