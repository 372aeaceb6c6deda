"""Dead letters of the bridge: their records stand on the operator's cluster, so that they are read again from the
letter and sent to Kounter's topics."""

from __future__ import annotations

import asyncio
from typing import Any, Final, NamedTuple

import orjson

from adapters.rosdomofon.foreign import StoredRecord, rows_of, send
from schemas.errors import InvalidInput, KounterError, UndecodableRecord
from schemas.external import parse_json
from streams.kafka.dead_letters import original
from streams.kafka.producer import RecordProducer

SOURCE: Final = "rosdomofon"
STAGE: Final = "bridge"
MOST_EDIT_BYTES: Final = 100_000


class Unreadable(NamedTuple):
    """A record that is still unreadable."""

    id: str
    """Id of its dead letter, ``partition:offset``."""
    reason: str


def is_foreign(letter: Any) -> bool:
    """Return whether a dead letter's record stands on the operator's cluster, where Kounter must not put it back."""
    return dict(letter.headers).get("__connect.errors.stage") == STAGE.encode()


async def take_over(producer: RecordProducer, letters: list[Any], edit: str | None = None) -> list[Unreadable]:
    """Read the letters' records as the bridge does, send the readable ones, and return the others.

    Event ids are those that the bridge would have given, so that the fold drops duplicates. ``edit``: a JSON object
    whose fields replace those of each record. Raises InvalidInput if ``edit`` is invalid, KafkaError from the
    producer.
    """
    changes = None if edit is None else _changes(edit)
    sent: list[asyncio.Future[Any]] = []
    unreadable: list[Unreadable] = []
    for letter in letters:
        try:
            topic, entry = original(letter)
        except UndecodableRecord as error:  # the letter does not hold its record
            unreadable.append(_unreadable(letter, error))
            continue
        headers = dict(letter.headers)
        partition, offset = (int(headers[f"__connect.errors.{name}"]) for name in ("partition", "offset"))
        value = entry.value if changes is None else _edited(entry.value, changes)
        record = StoredRecord(topic, partition, offset, entry.timestamp or 0, value)
        try:
            row, abonent = rows_of(record)
            for one in (abonent, row):
                if one is not None:
                    sent.append(await send(producer, record, one))
        except (UndecodableRecord, InvalidInput) as error:
            unreadable.append(_unreadable(letter, error))
    for acknowledged in sent:
        await acknowledged
    return unreadable


def _unreadable(letter: Any, error: KounterError) -> Unreadable:
    return Unreadable(f"{letter.partition}:{letter.offset}", error.message)


def _changes(edit: str) -> dict[str, Any]:
    """Returns the fields of an edit. Raises InvalidInput."""
    if not isinstance(exact := parse_json(edit, max_bytes=MOST_EDIT_BYTES), dict):
        raise InvalidInput("edit", "a JSON object", exact)
    try:
        # Not `exact`: its decimals are for Kounter's records; the operator's JSON has plain numbers.
        changes: dict[str, Any] = orjson.loads(edit)
    except orjson.JSONDecodeError as error:
        raise InvalidInput("edit", "Unicode text and finite numbers", str(error)) from None
    return changes


def _edited(value: bytes | None, changes: dict[str, Any]) -> bytes:
    try:
        fields = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        fields = {}
    return orjson.dumps((fields if isinstance(fields, dict) else {}) | changes)
