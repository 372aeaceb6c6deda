"""Dead letters of the bridge: their records stand on the operator's cluster, so they are read again and taken over."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

from adapters.rosdomofon.crossing import Kept, rows_of, send
from schemas.errors import InvalidInput, UndecodableRecord
from schemas.outside import parse_json
from schemas.producer import RecordProducer
from streams.deadletters import original

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
    sent, still = [], []
    for letter in letters:
        topic, entry = original(letter)
        headers = dict(letter.headers)
        partition, offset = (int(headers[f"__connect.errors.{name}"]) for name in ("partition", "offset"))
        value = entry.value if edit is None else _edited(entry.value, edit)
        record = Kept(topic, partition, offset, entry.timestamp or 0, value)
        try:
            row, who = rows_of(record)
            sent += [await send(producer, record, one) for one in (who, row) if one is not None]
        except (UndecodableRecord, InvalidInput) as error:
            still.append(Unreadable(f"{letter.partition}:{letter.offset}", error.message))
    for acknowledged in sent:
        await acknowledged
    return still


def _edited(value: bytes | None, edit: str) -> bytes:
    changes = parse_json(edit, max_bytes=MOST_EDIT_BYTES)
    if not isinstance(changes, dict):
        raise InvalidInput("edit", "a JSON object", changes)
    try:
        known = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        known = {}
    return orjson.dumps((known if isinstance(known, dict) else {}) | orjson.loads(edit))
