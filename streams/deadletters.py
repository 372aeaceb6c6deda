"""Dead letters: records that can't be folded, kept whole. Header names follow Kafka Connect."""

from __future__ import annotations

from typing import Any, Final

from schemas.errors import KounterError, UndecodableRecord
from streams.writers import Entry

TOPIC: Final = "dead-letters"
REASON: Final = "kounter.reason"
ORIGINAL: Final = "original."
"""Prefix of the record's own headers."""


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
