"""Dead letters of the bridge: their records stand on the operator's cluster, so they are read again and taken over."""

from __future__ import annotations

import asyncio
from typing import Any, Final, NamedTuple

import orjson

from adapters.rosdomofon.foreign import Kept, rows_of, send
from schemas.errors import InvalidInput, KounterError, UndecodableRecord
from schemas.external import parse_json
from streams.kafka.dead_letters import original
from streams.kafka.producer import RecordProducer

SOURCE: Final = "rosdomofon"
STAGE: Final = "bridge"
MOST_EDIT_BYTES: Final = 100_000


class Unreadable(NamedTuple):
    """A record that still can't be taken over."""

    id: str
    """Of its dead letter."""
    reason: str


def is_foreign(letter: Any) -> bool:
    """Whether a dead letter's record stands on the operator's cluster, where nothing of ours may be put back."""
    return dict(letter.headers).get("__connect.errors.stage") == STAGE.encode()


async def take_over(producer: RecordProducer, letters: list[Any], edit: str | None = None) -> list[Unreadable]:
    """Read them as the bridge does, and send what can be read, with the ids that it would have had: what comes twice
    is taken away. ``edit``: a JSON object whose fields replace those of the record. Raises InvalidInput of it."""
    sent: list[asyncio.Future[Any]] = []
    still: list[Unreadable] = []
    for letter in letters:
        try:
            topic, entry = original(letter)
        except UndecodableRecord as error:  # it does not hold its record
            still.append(_unreadable(letter, error))
            continue
        headers = dict(letter.headers)
        partition, offset = (int(headers[f"__connect.errors.{name}"]) for name in ("partition", "offset"))
        value = entry.value if edit is None else _edited(entry.value, edit)
        record = Kept(topic, partition, offset, entry.timestamp or 0, value)
        try:
            row, who = rows_of(record)
            for one in (who, row):
                if one is not None:
                    sent.append(await send(producer, record, one))
        except (UndecodableRecord, InvalidInput) as error:
            still.append(_unreadable(letter, error))
    for acknowledged in sent:
        await acknowledged
    return still


def _unreadable(letter: Any, error: KounterError) -> Unreadable:
    return Unreadable(f"{letter.partition}:{letter.offset}", error.message)


def _edited(value: bytes | None, edit: str) -> bytes:
    changes = parse_json(edit, max_bytes=MOST_EDIT_BYTES)
    if not isinstance(changes, dict):
        raise InvalidInput("edit", "a JSON object", changes)
    try:
        known = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        known = {}
    # Not the `changes`: their exact decimals are for records of ours, the operator's JSON has plain numbers.
    return orjson.dumps((known if isinstance(known, dict) else {}) | orjson.loads(edit))
