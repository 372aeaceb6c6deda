"""Dead letters: records that can't be folded, kept whole. Header names follow Kafka Connect."""

from __future__ import annotations

from typing import Any, Final

from schemas.errors import KounterError, UndecodableRecord
from streams.kafka.transactions import ProducerRecord

TOPIC: Final = "dead-letters"
REASON: Final = "kounter.reason"
ORIGINAL: Final = "original."
"""Prefix of the record's own headers."""
RETRIED: Final = "kounter.retried_from"
"""Header of a record that was put back: the id of its dead letter."""
PUT_BACK: Final = "kounter.put_back"
"""Header of a record of this topic that is no dead letter: the id of the one that was put back."""
PLACE: Final = (
    "__connect.errors.topic",
    "__connect.errors.partition",
    "__connect.errors.offset",
    "__connect.errors.stage",
    "kounter.timestamp",
)
LEFT_OUT: Final = "kounter.left_out"
"""Header of a dead letter that does not hold its record: the size of the record."""
BATCH: Final = "kounter.batch"
"""Header of a dead letter that keeps a whole batch, which could not be unpacked: its last offset and checksum."""
BATCH_HINT: Final = "Produce its records again from their source: all readers of the topic pass over them."
MOST_BYTES: Final = 2 << 20
"""Largest size in bytes of a record that is kept whole. Brokers check compressed sizes only: a record may be many times
larger.
"""
MOST_KEY_BYTES: Final = 1_000
HEADER_BYTES: Final = 40
"""Bytes of a header beside name and value, here or with a parked command."""


def weight(record: Any) -> int:
    """Returns the bytes that a raw aiokafka record takes to be kept."""
    own = sum(len(name) + len(value or b"") + HEADER_BYTES for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + own


def dead_letter(topic: str, record: Any, error: KounterError, stage: str = "fold") -> ProducerRecord:
    """Returns the dead letter of a raw aiokafka record: its key and bytes as they came, and the error.

    The letter of a record that is too large to be kept has only its place: one that no topic takes would hold up all
    behind it.
    """
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
    if (size := weight(record)) <= MOST_BYTES:
        return ProducerRecord(
            record.key, record.value, [*headers, *((ORIGINAL + name, value) for name, value in record.headers)]
        )
    key = record.key if len(record.key or b"") <= MOST_KEY_BYTES else None
    return ProducerRecord(key, None, [*headers, (LEFT_OUT, str(size).encode())])


def original(letter: Any) -> tuple[str, ProducerRecord]:
    """Returns the topic and the record that a dead letter keeps, to be put back, with a header that names the letter.

    Raises UndecodableRecord if it is no dead letter, or one that does not hold its record.
    """
    headers = dict(letter.headers)
    if BATCH in headers:
        raise UndecodableRecord("unreadable_batch", "it keeps a batch that could not be unpacked", hint=BATCH_HINT)
    if size := headers.get(LEFT_OUT):
        raise UndecodableRecord("left_out", f"a record of {size.decode()} bytes stands only where it came from")
    try:
        topic, timestamp = headers["__connect.errors.topic"].decode(), int(headers["kounter.timestamp"])
    except (KeyError, ValueError, TypeError, AttributeError):  # a header may be null
        raise UndecodableRecord("foreign_record", f"{TOPIC} {letter.partition}:{letter.offset} is not ours") from None
    own = [(name.removeprefix(ORIGINAL), value) for name, value in letter.headers if name.startswith(ORIGINAL)]
    own = [(name, value) for name, value in own if name != RETRIED]
    own.append((RETRIED, f"{TOPIC} {letter.partition}:{letter.offset}".encode()))
    return topic, ProducerRecord(letter.key, letter.value, own, timestamp)


def put_back(letter: Any) -> ProducerRecord:
    """Returns the record that follows a dead letter on its partition once its record was put back."""
    # Not null: a client takes no record without key and value, and the letter's key may be null.
    return ProducerRecord(letter.key, b"", [(PUT_BACK, f"{letter.partition}:{letter.offset}".encode())])


def put_back_id(record: Any) -> str | None:
    """Returns the id of the dead letter that a record of the topic marks as put back; None for a dead letter."""
    value = dict(record.headers).get(PUT_BACK)
    return None if value is None else value.decode("ascii", "replace")


def place_of(letter: Any) -> tuple[Any, ...] | None:
    """Returns the place of the record that a dead letter keeps, the same for each letter of it; None for a letter
    without a place. Key and size distinguish records of a topic that was deleted and created again.
    """
    headers = dict(letter.headers)
    if "__connect.errors.offset" not in headers or "kounter.timestamp" not in headers:
        return None
    size = headers.get(LEFT_OUT) or len(letter.value or b"")
    return letter.key, size, *(headers.get(name) for name in PLACE)


def came_from(letter: Any) -> str | None:
    """Returns the id of the earlier dead letter of the same record, which was put back and came here again."""
    value = dict(letter.headers).get(ORIGINAL + RETRIED)
    return None if value is None else value.decode("ascii", "replace").removeprefix(f"{TOPIC} ")
