"""Frames that can't be taken, as dead letters: without passwords and personal data, to be read again after an upgrade.

A letter's "topic" is the feed's source and its "offset" the ``update_id``: the frame stands on no topic of Kafka.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from adapters.brusnika.frames import ErrorFrame, read_frame
from adapters.brusnika.lenient import read_leniently
from adapters.brusnika.window import Refused, Row
from schemas.errors import InvalidInput, KounterError, UndecodableRecord
from schemas.external import parse_json
from schemas.record import contract
from schemas.wire.personal import without_personal
from streams.kafka import dead_letters
from streams.kafka.dead_letters import dead_letter
from streams.kafka.producer import MAX_BYTES, RecordProducer
from streams.kafka.transactions import ProducerRecord

STAGE: Final = "feed"
TAKEN_OUT: Final = "kounter.taken_out"
"""Header with the names of the fields that were taken out, separated by spaces."""
ABOVE: Final = "kounter.above"
"""Header with the number that was added to each ``update_id`` when the frame came (`Position.above`)."""
MOST_EDIT_BYTES: Final = 100_000
HINT: Final = (
    "After an upgrade or a corrected rule: `kounter dead-letters retry`. What was taken out of it comes only with the "
    "frame itself: `kounter feed reset --to` the number before."
)


class Unreadable(NamedTuple):
    """A letter whose frame still can't be taken."""

    id: str
    """Its place, ``partition:offset``."""
    reason: str


class _Frame(NamedTuple):
    """A frame in the form of a Kafka record, as `dead_letter` takes it."""

    key: bytes | None
    value: bytes | None
    partition: int
    offset: int
    timestamp: int
    headers: tuple[tuple[str, bytes], ...] = ()


async def keep(producer: RecordProducer, partitions: int, source: str, frames: Sequence[Refused]) -> None:
    """Produce the dead letters of frames, and wait for the acknowledgements. Raises KafkaError."""
    by_partition: dict[int, list[ProducerRecord]] = {}
    for frame in frames:
        letter = letter_of(source, frame, time.time_ns() // 1_000_000)
        by_partition.setdefault((frame.bad.update_id or 0) % partitions, []).append(letter)
    for partition, letters in by_partition.items():
        await producer.write(dead_letters.TOPIC, partition, letters)


def letter_of(source: str, refused: Refused, now_ms: int) -> ProducerRecord:
    """Returns the dead letter of a frame. Its reason names the field and the expected value, never what came."""
    bad = refused.bad
    key, value, taken_out = _kept(refused.raw)
    error = UndecodableRecord(bad.trouble.name.lower(), f"{bad.field}: expected {bad.expected}", hint=HINT)
    letter = dead_letter(source, _Frame(key, value, 0, bad.update_id or 0, now_ms), error, STAGE)
    headers = [*letter.headers, (ABOVE, str(refused.above).encode())]
    if taken_out:
        headers.append((TAKEN_OUT, " ".join(taken_out).encode("utf-8", "replace")))
    if value is None:
        headers.append((dead_letters.LEFT_OUT, str(refused.size).encode()))
    return letter._replace(headers=headers, timestamp=now_ms)


def _kept(raw: bytes) -> tuple[bytes | None, bytes | None, tuple[str, ...]]:
    """Returns the key, the frame without personal data, and what was taken out of it. A frame that is no JSON at all
    is left out, as what in it is personal is unknown."""
    try:
        frame = read_leniently(raw)
        said = frame.get("data") if isinstance(frame, dict) and "event" in frame else frame
        inner = said.get("data") if isinstance(said, dict) else None
        if not isinstance(inner, dict) or not isinstance(inner.get("data"), dict):
            whole, taken_out = without_personal(None, {"frame": frame})
            return None, _dump(whole["frame"]), taken_out
        word, ext_id = inner.get("type"), inner["data"].get("ext_id")
        body, taken_out = without_personal(word, inner["data"])
        rest, more = without_personal(None, {name: value for name, value in inner.items() if name != "data"})
        value = _dump({"data": {**rest, "data": body}, "error": None})
    except (ValueError, ArithmeticError, RecursionError):
        return None, None, ()
    key = ext_id.encode("utf-8", "replace")[: dead_letters.MOST_KEY_BYTES] if isinstance(ext_id, str) else None
    return key or None, value if len(value) <= MAX_BYTES else None, tuple(sorted({*taken_out, *more}))


def _dump(frame: Any) -> bytes:
    # Half a character stays one: it is refused again, and not taken as another one.
    return json.dumps(frame, separators=(",", ":"), default=_number).encode()


def _number(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"not for a frame: {type(value)}")


def is_frame(letter: Any) -> bool:
    """Returns whether a dead letter keeps a frame of the feed, which came from no topic of Kafka."""
    return dict(letter.headers).get("__connect.errors.stage") == STAGE.encode()


async def take_over(producer: RecordProducer, letters: Sequence[Any], edit: str | None = None) -> list[Unreadable]:
    """Read the letters' frames again as the feed does, and produce what can be read. Returns the others.

    ``edit``: a JSON object whose fields replace those of each frame's data. Raises InvalidInput if it is none,
    KafkaError.
    """
    changes = None if edit is None else _edit(edit)
    still, rows, of = list[Unreadable](), list[Row](), list[Any]()
    for letter in letters:
        try:
            rows.append(_read(letter, changes))
            of.append(letter)
        except KounterError as error:
            still.append(_unreadable(letter, error))
    errors = await producer.send_many(rows)
    still += [_unreadable(letter, error) for letter, error in zip(of, errors, strict=True) if error is not None]
    return still


def _read(letter: Any, changes: dict[str, Any] | None) -> Row:
    headers = dict(letter.headers)
    if letter.value is None or dead_letters.LEFT_OUT in headers:
        raise UndecodableRecord("left_out", "the letter does not hold the frame: it was no JSON, or too large")
    value = letter.value if changes is None else _edited(letter.value, changes)
    row = read_frame(value, max_bytes=2 * MAX_BYTES)
    if isinstance(row, ErrorFrame):
        raise UndecodableRecord("error_frame", "the letter holds an error frame")
    source = headers["__connect.errors.topic"].decode()
    return renumbered(row, source, int(headers.get(ABOVE, b"0")))


def renumbered(row: Row, source: str, above: int) -> Row:
    """Returns a row as it goes to our topics: a command with the name of the source, a number with ``above`` added."""
    known, changed = contract(type(row)), dict[str, Any]()
    if above and known.counter is not None and (number := getattr(row, known.counter)) is not None:
        changed[known.counter] = number + above
    if "source" in known.fields and getattr(row, "source", source) != source:
        changed["source"] = source
    return row._replace(**changed) if changed else row  # type: ignore[attr-defined]  # rows are named tuples


def _edit(edit: str) -> dict[str, Any]:
    changes = parse_json(edit, max_bytes=MOST_EDIT_BYTES)
    if not isinstance(changes, dict):
        raise InvalidInput("edit", "a JSON object", changes)
    return changes


def _edited(value: bytes, changes: dict[str, Any]) -> bytes:
    frame = json.loads(value)
    try:
        frame["data"]["data"] = frame["data"]["data"] | changes
    except (TypeError, KeyError):
        raise UndecodableRecord("bad_frame", "the letter's frame has no data that could be edited") from None
    return _dump(frame)


def _unreadable(letter: Any, error: KounterError) -> Unreadable:
    """Returns the letter with the reason, without the received value of an InvalidInput: it may be personal."""
    reason = f"{error.field}: expected {error.expected}" if isinstance(error, InvalidInput) else error.message
    return Unreadable(f"{letter.partition}:{letter.offset}", reason)
