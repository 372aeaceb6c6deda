"""Dead letters as commands show them, and the fate of each: put back, and perhaps refused again."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from kounter.history.present import moment
from schemas.cloudevents import read_headers
from schemas.errors import BrokenSetup
from streams.kafka import dead_letters
from streams.kafka.reader import TopicReader
from tables.timeline import PutAside, Said

PREFIX: Final = dead_letters.ORIGINAL
NEW, PUT_BACK, CAME_BACK = "new", "put back", "came back"


class Fates:
    """The fates of dead letters, from the records after them on their topic."""

    def __init__(self) -> None:
        self._put_back: dict[str, int] = {}
        """Milliseconds since the epoch of the first time that each was put back."""
        self._places: set[tuple[Any, ...]] = set()
        """Places and times of the records that letters keep: a topic that was created again has the same places."""
        self._again: dict[str, str] = {}
        """The later letter of the same record."""

    def take(self, record: Any) -> bool:
        """Read a record of the topic. Returns False for a dead letter, which is no mark of another one, and True also
        for a letter that a rebuild has written again: of those the first one counts, with its fate."""
        if (id := dead_letters.put_back_id(record)) is not None:
            self._put_back.setdefault(id, record.timestamp)
            return True
        if (place := dead_letters.place_of(record)) is not None:
            if place in self._places:
                return True
            self._places.add(place)
        if (id := dead_letters.came_from(record)) is not None:
            self._again[id] = id_of(record)
        return False

    def of(self, id: str) -> dict[str, Any]:
        """Returns the fate as fields of a letter."""
        at, again = self._put_back.get(id), self._again.get(id)
        status = CAME_BACK if again else NEW if at is None else PUT_BACK
        return {"status": status, "put_back": None if at is None else moment(at * 1000), "again": again}


def id_of(record: Any) -> str:
    """Returns the id that `ls` prints and `retry` takes."""
    return f"{record.partition}:{record.offset}"


def as_dict(record: Any) -> dict[str, Any]:
    """Returns a dead letter as JSON has it, without its bytes."""
    headers = {name: (value or b"").decode("utf-8", "replace") for name, value in record.headers}
    return {
        "id": id_of(record),
        "time": moment(record.timestamp * 1000),
        "reason": headers.get(dead_letters.REASON, ""),
        "topic": headers.get("__connect.errors.topic", ""),
        "partition": headers.get("__connect.errors.partition", ""),
        "offset": headers.get("__connect.errors.offset", ""),
        "stage": headers.get("__connect.errors.stage", ""),
        "key": None if record.key is None else record.key.decode("utf-8", "replace"),
        "message": headers.get("__connect.errors.exception.message", ""),
        "hint": headers.get("kounter.hint", ""),
        "bytes": int(headers.get(dead_letters.LEFT_OUT, len(record.value or b""))),
    }


async def put_aside(reader: TopicReader, topics: Collection[str], key: str) -> list[tuple[str, Said]]:
    """Returns the dead letters of a key of these topics, each with its topic, as lines of the thing's history."""
    raw, wanted, fates = key.encode(), {topic.encode() for topic in topics}, Fates()
    found = []
    try:
        async for record in reader.read(dead_letters.TOPIC):
            is_letter = record.key == raw and not fates.take(record)
            if is_letter and dict(record.headers).get("__connect.errors.topic") in wanted:
                found.append(record)
    except BrokenSetup:  # no topic, so no letter
        return []
    lines = [_said(record, fates.of(id_of(record))) for record in found]
    return [line for line in lines if line is not None]


def _said(record: Any, fate: dict[str, Any]) -> tuple[str, Said] | None:
    """Returns the place and time of the record that the letter keeps; None for a letter without them."""
    letter = as_dict(record)
    timestamp = dict(record.headers).get("kounter.timestamp")
    try:
        partition, offset = int(letter["partition"]), int(letter["offset"])
        at = record.timestamp if timestamp is None else int(timestamp)
    except ValueError:
        return None
    own = [(n.removeprefix(PREFIX), value) for n, value in record.headers if n.startswith(PREFIX)]
    topic = letter["topic"]
    meta = read_headers(own, timestamp_ms=at, topic=topic, partition=partition, offset=offset)
    why = PutAside(letter["reason"], letter["message"], letter["id"], fate["put_back"], fate["again"])
    return topic, Said(why, meta, at * 1000, partition, offset)
