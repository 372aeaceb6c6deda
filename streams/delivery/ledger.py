"""The ledger: the things that were created in an outside system, so that nothing is created twice.

Before a call that may create something its intent is committed, and after it the id that the system gave, in one
transaction with the receipt. So each command is known to be tried or not: without an entry it was not; with an intent
it may have been, and the system is searched by our own id first; with an id the thing exists and is only changed.
"""

from __future__ import annotations

import time
from typing import Final, NamedTuple

import orjson

from streams.delivery.state import DeliveryState, Write
from streams.kafka.transactions import ProducerRecord

PREFIX: Final = b"ledger\0"


class Made(NamedTuple):
    """The entry of a subject, such as the lead card of ``estate.lead:l-1``."""

    command_id: str
    """Command that created the subject, or may have."""
    offset: int
    at: int
    """Microseconds since the epoch; an intent has the time shortly before the latest call."""
    id: int | str | None = None
    """Id in the outside system; None: an intent, whose outcome is unknown."""


class Ledger:
    """Ledger of one partition of commands."""

    def __init__(self, state: DeliveryState) -> None:
        self._state = state

    def get(self, subject: str) -> Made | None:
        """Returns the entry of a subject, None if it was never tried."""
        value = self._state.get(_key(subject))
        return None if value is None else Made(*orjson.loads(value))

    def entry(self, subject: str, command_id: str, offset: int, id: int | str | None = None) -> Write:
        """Returns the entry to write: with an id, the subject was created; without one, it is about to be."""
        made = Made(command_id, offset, time.time_ns() // 1_000, id)
        return self._state.changelog, ProducerRecord(_key(subject), orjson.dumps(list(made)))

    def forgotten(self, subject: str) -> Write:
        """Returns the entry to write that forgets a subject: no later command is about it."""
        return self._state.changelog, ProducerRecord(_key(subject), None)


def _key(subject: str) -> bytes:
    return PREFIX + subject.encode()
