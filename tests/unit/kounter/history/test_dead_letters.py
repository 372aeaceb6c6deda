"""Dead letters in the history of their thing, and what became of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple, cast

import pytest

from kounter.commands.history.timeline import as_table
from kounter.history.dead_letters import Fates, as_dict, put_aside
from kounter.history.present import entry_as_dict, find_aggregate
from kounter.history.reader import Reader
from schemas.errors import BrokenSetup, UndecodableRecord
from schemas.estate import Lead
from streams.kafka.dead_letters import RETRIED, TOPIC, dead_letter, original, put_back
from streams.kafka.settings import KafkaSettings
from tables.timeline import timeline

_, LEADS = find_aggregate("lead")


class Record(NamedTuple):
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: Any
    headers: tuple[tuple[str, bytes | None], ...] = ()


class Topics:
    """The topics' records, of any partition."""

    def __init__(self, *records: Record) -> None:
        self._records = records

    async def read(self, topic: str) -> AsyncIterator[Record]:
        if topic not in {record.topic for record in self._records}:
            raise BrokenSetup(f"there is no topic {topic}")
        for record in self._records:
            if record.topic == topic:
                yield record

    async def of_key(self, topic: str, key: str) -> list[Record]:
        return [r for r in self._records if r.topic == topic and r.key == key.encode() and r.partition == 1]


class Rows:
    """Rows are their own bytes."""

    async def decode(self, topic: str, value: Any) -> Any:
        if isinstance(value, bytes):
            raise UndecodableRecord("undecodable", "noise")
        return value


def buried(record: Record, reason: str, at: int, partition: int, offset: int) -> Record:
    letter = dead_letter(record.topic, record, UndecodableRecord(reason, "so"))
    headers = tuple((name, value) for name, value in letter.headers)
    return Record(TOPIC, partition, offset, at, letter.key, letter.value, headers)


def marked(letter: Record, at: int) -> Record:
    entry = put_back(letter)
    return Record(TOPIC, letter.partition, letter.offset + 1, at, entry.key, entry.value, tuple(entry.headers))


def reader(*records: Record) -> Reader:
    return Reader(KafkaSettings(), cast(Any, Topics(*records)), cast(Any, Rows()))


FIRST = Record("estate.lead", 1, 0, 1_000, b"l1", Lead("l1", 1, state="ACTIVE"))
ASTRAY = Record("estate.lead", 5, 0, 2_000, b"l1", Lead("l1", 2, state="FAILED"), (("ce_source", b"/sales"),))
OTHER = Record("estate.lead", 1, 1, 3_000, b"l1", Lead("another", 9, state="COMPLETE"))
LAST = Record("estate.lead", 1, 2, 4_000, b"l1", Lead("l1", 3, lead_number=7))


async def test_a_dead_letter_stands_in_its_place() -> None:
    """One on a wrong partition was in no timeline; one of another reason was shown as if it had been folded."""
    astray, other = buried(ASTRAY, "wrong_partition", 9_000, 5, 7), buried(OTHER, "key_mismatch", 9_000, 1, 3)
    history = await reader(FIRST, OTHER, LAST, astray, other, marked(astray, 10_000)).history(LEADS, "l1")
    entries = [entry_as_dict(LEADS.layout, entry) for entry in timeline(LEADS.evolve, history)]
    assert [(e["verdict"], e["partition"], e["offset"]) for e in entries] == [
        ("applied", 1, 0), ("dead-letter", 5, 0), ("dead-letter", 1, 1), ("applied", 1, 2),
    ]  # fmt: skip
    assert (entries[1]["reason"], entries[1]["letter"], entries[1]["source"]) == ("wrong_partition", "5:7", "/sales")
    assert entries[1]["put_back"] == "1970-01-01T00:00:10Z"
    assert entries[1]["time"] == "1970-01-01T00:00:02Z"
    assert "put_back" not in entries[2]
    after = timeline(LEADS.evolve, history)[-1].after
    assert after is not None
    assert (after.state, after.lead_number, after.version) == ("ACTIVE", 7, 2)
    shown = [str(cell) for cell in as_table(LEADS, "l1", timeline(LEADS.evolve, history)).columns[3].cells]
    assert "wrong_partition: so (dead letter 5:7, put back 1970-01-01T00:00:10)" in shown[1]
    assert "key_mismatch: so (dead letter 1:3, not put back)" in shown[2]


async def test_one_that_can_not_be_read_has_its_letter_too_and_one_put_back_stands_behind_it() -> None:
    noise = FIRST._replace(value=b"noise", offset=3, timestamp=5_000)
    back = ASTRAY._replace(partition=1, offset=4)  # with the time that it had
    letters = buried(noise, "undecodable", 9_000, 1, 4), buried(ASTRAY, "wrong_partition", 9_000, 5, 7)
    history = await reader(FIRST, back, noise, *letters).history(LEADS, "l1")
    entries = [entry_as_dict(LEADS.layout, entry) for entry in timeline(LEADS.evolve, history)]
    assert [e["verdict"] for e in entries] == ["applied", "dead-letter", "applied", "unreadable"]
    assert (entries[3]["record"], entries[3]["letter"]) == ("unreadable", "1:4")


async def test_a_thing_of_which_there_are_only_dead_letters_has_a_timeline() -> None:
    (said,) = await reader(buried(ASTRAY, "wrong_partition", 9_000, 5, 7)).history(LEADS, "l1")
    (entry,) = timeline(LEADS.evolve, [said])
    assert (entry.verdict, entry.after) == ("dead-letter", None)


async def test_letters_of_other_topics_and_keys_stay_out() -> None:
    others = ASTRAY._replace(topic="estate.city"), ASTRAY._replace(key=b"l2"), ASTRAY._replace(key=None)
    letters = [buried(record, "x", 9_000, 0, n) for n, record in enumerate(others)]
    broken = letters[0]._replace(key=b"l1", headers=(("__connect.errors.topic", b"estate.lead"),))
    assert await reader(FIRST, *letters, broken).history(LEADS, "l1") == await reader(FIRST).history(LEADS, "l1")
    assert await put_aside(cast(Any, Topics(FIRST)), ("estate.lead",), "l1") == []


@pytest.mark.parametrize("is_back", [True, False])
def test_what_became_of_a_letter(is_back: bool) -> None:
    fates, letter = Fates(), buried(ASTRAY, "wrong_partition", 9_000, 5, 7)
    assert not fates.take(letter)
    assert fates.of("5:7")["status"] == "new"
    mark = marked(letter, 10_000)
    assert fates.take(mark)
    assert fates.of("5:7") == {"status": "put back", "put_back": "1970-01-01T00:00:10Z", "again": None}
    assert fates.of("5:8")["status"] == "new"
    if is_back:
        topic, entry = original(letter)
        again = Record(topic, 1, 9, 2_000, entry.key, entry.value, tuple(entry.headers))
        assert dict(again.headers)[RETRIED] == b"dead-letters 5:7"
        fates.take(buried(again, "too_large", 11_000, 1, 4))
        assert fates.of("5:7") == {"status": "came back", "put_back": "1970-01-01T00:00:10Z", "again": "1:4"}


def test_a_mark_is_no_dead_letter() -> None:
    """It is never put back itself."""
    mark = marked(buried(ASTRAY, "wrong_partition", 9_000, 5, 7), 10_000)
    with pytest.raises(UndecodableRecord, match="is not ours"):
        original(mark)
    assert as_dict(mark)["topic"] == ""


async def test_a_letter_that_a_rebuild_writes_again_is_one_and_what_was_healed_stays_so() -> None:
    healed, other = buried(ASTRAY, "wrong_partition", 9_000, 5, 7), buried(OTHER, "key_mismatch", 9_000, 1, 3)
    again, both = buried(ASTRAY, "wrong_partition", 20_000, 5, 9), buried(OTHER, "key_mismatch", 20_000, 1, 4)
    anew = buried(OTHER._replace(timestamp=77_000), "key_mismatch", 80_000, 1, 5)
    fates = Fates()
    taken = [fates.take(record) for record in (healed, marked(healed, 10_000), other, again, both, anew)]
    assert taken == [False, True, False, True, True, False], "the last is of a topic that was made anew"
    assert (fates.of("5:7")["status"], fates.of("1:3")["status"]) == ("put back", "new")
