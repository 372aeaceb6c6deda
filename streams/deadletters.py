"""Dead letters: records that can't be folded, kept whole. Header names follow Kafka Connect."""

from __future__ import annotations

from typing import Any, Final

from schemas.errors import KounterError, UndecodableRecord
from streams.writers import Entry

TOPIC: Final = "dead-letters"
REASON: Final = "kounter.reason"
ORIGINAL: Final = "original."
"""Prefix of the record's own headers."""
RETRIED: Final = "kounter.retried_from"
"""Header of a record that was put back: which dead letter it was."""


def dead_letter(topic: str, record: Any, error: KounterError, stage: str = "fold") -> Entry:
    """The dead letter of a raw aiokafka record: its key and bytes as they came, and why."""
    reason = error.reason if isinstance(error, UndecodableRecord) else error.code
    known = {
        "__connect.errors.topic": topic,
        "__connect.errors.partition": record.partition,
        "__connect.errors.offset": record.offset,
        "__connect.errors.stage": stage,
        "__connect.errors.exception.class.name": type(error).__name__,
        "__connect.errors.exception.message": error.message,
        "kounter.timestamp": record.timestamp,
        REASON: reason,
        "kounter.hint": error.hint,
    }
    headers = [(name, str(value).encode()) for name, value in known.items()]
    headers += [(ORIGINAL + name, value) for name, value in record.headers]
    return Entry(record.key, record.value, headers)


def original(letter: Any) -> tuple[str, Entry]:
    """The record that a dead letter keeps, to be put back, and its topic. Marked with where it was meanwhile.

    Raises UndecodableRecord if it is no dead letter of ours.
    """
    headers = dict(letter.headers)
    try:
        topic, timestamp = headers["__connect.errors.topic"].decode(), int(headers["kounter.timestamp"])
    except (KeyError, ValueError):
        raise UndecodableRecord("foreign_record", f"{TOPIC} {letter.partition}:{letter.offset} is not ours") from None
    own = [(name.removeprefix(ORIGINAL), value) for name, value in letter.headers if name.startswith(ORIGINAL)]
    own = [(name, value) for name, value in own if name != RETRIED]
    own.append((RETRIED, f"{TOPIC} {letter.partition}:{letter.offset}".encode()))
    return topic, Entry(letter.key, letter.value, own, timestamp)
