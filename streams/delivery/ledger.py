"""The ledger: what was made in an outside system, so that nothing is made twice.

Before a call that may make something its intent is committed, after it the id that the outside gave, in one transaction
with the receipt. So of every command it is known whether it was tried: no entry, certainly not; an intent, perhaps, and
the outside is searched by our own id first; an id, it is there and is only changed.
"""

from __future__ import annotations

import time
from typing import Final, NamedTuple

import orjson

from streams.delivery.state import DeliveryState, Write
from streams.kafka.transactions import ProducerRecord

PREFIX: Final = b"ledger\0"


class Made(NamedTuple):
    """What is known of a subject, such as the lead card of ``estate.lead:l-1``."""

    command_id: str
    """Of the command that made it, or may have."""
    offset: int
    at: int
    """Microseconds since the epoch; of an intent, shortly before the latest call."""
    id: int | str | None = None
    """The outside's own; None: an intent, nobody knows what became of it."""


class Ledger:
    """Of one partition of commands."""

    def __init__(self, state: DeliveryState) -> None:
        self._state = state

    def get(self, subject: str) -> Made | None:
        """What is known of it, None if it was never tried."""
        value = self._state.get(_key(subject))
        return None if value is None else Made(*orjson.loads(value))

    def entry(self, subject: str, command_id: str, offset: int, id: int | str | None = None) -> Write:
        """To be written: with an id, what was made; without, what is about to be."""
        made = Made(command_id, offset, time.time_ns() // 1_000, id)
        return self._state.changelog, ProducerRecord(_key(subject), orjson.dumps(list(made)))

    def forgotten(self, subject: str) -> Write:
        """To be written: nothing will ask for it again."""
        return self._state.changelog, ProducerRecord(_key(subject), None)


def _key(subject: str) -> bytes:
    return PREFIX + subject.encode()
