"""Dead letters: whole if they can be, never larger than their topic takes."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from schemas.errors import UndecodableRecord
from streams.kafka.dead_letters import LEFT_OUT, MOST_BYTES, ORIGINAL, dead_letter, original
from streams.kafka.topics import DEAD_LETTERS
from streams.kafka.transactions import ProducerRecord

ERROR = UndecodableRecord("undecodable", "cut short")


class Record(NamedTuple):
    """As aiokafka has it."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int = 3
    offset: int = 17
    timestamp: int = 1_700_000_000_000


class Letter(NamedTuple):
    """A dead letter, read."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    partition: int = 0
    offset: int = 0


def size(entry: ProducerRecord) -> int:
    headers = sum(len(name.encode()) + len(value) + 10 for name, value in entry.headers)
    return len(entry.key or b"") + len(entry.value or b"") + headers


def test_a_record_is_kept_whole_and_comes_back() -> None:
    record = Record(b"l-1", b"x" * (1 << 20), (("ce_id", b"1"), ("ce_id", b"2")))
    letter = dead_letter("estate.lead", record, ERROR)
    assert (letter.key, letter.value) == (record.key, record.value)
    topic, entry = original(Letter(*letter[:3]))
    assert (topic, entry.key, entry.value, entry.timestamp) == ("estate.lead", b"l-1", record.value, record.timestamp)
    assert entry.headers[:2] == list(record.headers)


@pytest.mark.parametrize(
    "record",
    [
        Record(b"l-1", b"x" * (50 << 20)),
        Record(b"l-1", b"x", (("", b""),) * 400_000),
        Record(b"l-1", b"x", (("big", b"x" * (10 << 20)),)),
        Record(b"k" * (10 << 20), b"x"),
        Record(b"k" * (10 << 20), None),
    ],
    ids=["value", "many headers", "a header", "key", "tombstone"],
)
def test_of_one_that_is_too_large_it_says_where_it_stands(record: Record) -> None:
    letter = dead_letter("estate.lead", record, ERROR)
    headers = dict(letter.headers)
    assert size(letter) < 10_000
    assert letter.key in (None, b"l-1")
    assert int(headers[LEFT_OUT]) > MOST_BYTES
    assert (headers["__connect.errors.topic"], headers["__connect.errors.offset"]) == (b"estate.lead", b"17")
    with pytest.raises(UndecodableRecord, match="stands only where it came from"):
        original(Letter(*letter[:3]))


@pytest.mark.parametrize("name", ["", "n" * 100])
def test_the_largest_that_is_kept_fits_its_topic(name: str) -> None:
    count = MOST_BYTES // (len(name) + 40)
    letter = dead_letter("t", Record(None, b"", ((name, b""),) * count), ERROR)
    assert letter.headers[-1][0] == ORIGINAL + name
    assert size(letter) < int(DEAD_LETTERS["max.message.bytes"])


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"__connect.errors.topic": b"t"},
        {"__connect.errors.topic": b"t", "kounter.timestamp": b"soon"},
        {"__connect.errors.topic": None, "kounter.timestamp": b"1"},
        {"__connect.errors.topic": b"t", "kounter.timestamp": None},
    ],
)
def test_what_others_have_put_there_is_not_put_back(headers: dict[str, bytes]) -> None:
    with pytest.raises(UndecodableRecord, match="dead-letters 0:0 is not ours"):
        original(Letter(b"l-1", b"x", [*headers.items()]))
