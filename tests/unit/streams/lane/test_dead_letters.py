"""Records that a batch can't take: each is put aside whole, and the partition goes on."""

from __future__ import annotations

import pytest

from streams.kafka import dead_letters
from streams.kafka.partitioner import partition_of
from tests.support.local import PARTITIONS, Raw, keys_of, raw
from tests.support.trial import Deposit, Item, ItemMoved
from tests.unit.streams.lane.table import COMMANDS, HOME, ITEMS, ONE, TWO, Table, new_table


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (Raw(ONE.encode(), b"no avro", 7, HOME), "not_confluent_wire"),
        (Raw(ONE.encode(), b"", 7, HOME), "not_confluent_wire"),
        (Raw(ONE.encode(), b"\0\0\0\xff\xffbody", 7, HOME), "unknown_schema_id"),
        (Raw(None, b"\0\0\0\0\1body", 7, HOME), "null_key"),
    ],
)
async def test_a_record_that_can_not_be_read_is_parked_whole(table: Table, record: Raw, reason: str) -> None:
    record = record._replace(headers=[("x", b"\xff")])
    await table.fold((ITEMS, [record, raw(table.serde, ITEMS, Item(TWO, 1, "new"), 8)]))
    assert table.reasons() == [reason]
    (letter,) = table.written[dead_letters.TOPIC]
    headers = dict(letter.headers)
    assert (letter.key, letter.value) == (record.key, record.value)
    assert headers["__connect.errors.topic"].decode() == ITEMS
    assert (headers["__connect.errors.partition"], headers["__connect.errors.offset"]) == (b"3", b"7")
    assert headers["original.x"] == b"\xff"
    assert table.state(ITEMS, TWO) is not None, "the partition goes on"


async def test_a_record_that_is_cut_short_or_has_a_tail_is_parked(table: Table) -> None:
    whole = raw(table.serde, ITEMS, Item(ONE, 1, "new"))
    assert whole.value is not None
    broken = [whole._replace(value=whole.value[:-3]), whole._replace(value=whole.value + b"\0")]
    await table.fold((ITEMS, broken))
    assert table.reasons() == ["undecodable", "undecodable"]
    assert table.states == {}


async def test_headers_without_a_value_are_none(table: Table) -> None:
    """Kafka knows them; of a record that is parked they stay as they are."""
    headers = (("traceparent", None), ("x", None))
    good = raw(table.serde, ITEMS, Item(ONE, 1, "new"))._replace(headers=headers)
    await table.fold((ITEMS, [good, good._replace(value=b"no avro")]))
    assert [m.new for m in await table.rows("trial.out")] == ["new"]
    (letter,) = table.written[dead_letters.TOPIC]
    assert dict(letter.headers)["original.x"] is None


async def test_a_record_of_another_topic_is_parked(table: Table) -> None:
    move = raw(table.serde, "trial.out", ItemMoved(ONE, "m1"))
    await table.fold((ITEMS, [move]))
    assert table.reasons() == ["foreign_record"]


async def test_a_key_that_is_not_the_records_own_is_parked(table: Table) -> None:
    record = raw(table.serde, ITEMS, Item(ONE, 1, "new"))._replace(key=TWO.encode())
    await table.fold((ITEMS, [record]))
    assert table.reasons() == ["key_mismatch"]


async def test_a_record_on_the_wrong_partition_is_parked(table: Table) -> None:
    (stranger,) = keys_of(HOME + 1, 1)
    await table.fold((ITEMS, [raw(table.serde, ITEMS, Item(stranger, 1, "new")), Raw(stranger.encode(), None)]))
    assert table.reasons() == ["wrong_partition", "wrong_partition"]
    assert table.states == {}


async def test_a_state_that_would_grow_too_large_is_left_as_it_was() -> None:
    table = await new_table(max_state=200)
    await table.fold(table.items(Item(ONE, 1, "a"), Item(ONE, 2, note="x" * 300), Item(ONE, 3, "b")))
    state = table.state(ITEMS, ONE)
    assert state is not None
    assert (state.status, state.note, state.update_id) == ("b", None, 3)
    assert table.reasons() == ["too_large"]
    assert [m.new for m in await table.rows("trial.out")] == ["a", "b"]


async def test_a_registry_that_is_down_is_waited_for(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.lane.processor.REGISTRY_WAITS_S", (0.0,))
    table.registry.down = 3
    await table.fold(table.items(Item(ONE, 1, "new")))
    assert table.registry.down == 0
    assert table.reasons() == []
    assert table.state(ITEMS, ONE) is not None


async def test_an_unknown_schema_is_asked_for_again_later(table: Table) -> None:
    late = Raw(ONE.encode(), b"\0\0\0\0\x63body", 0, HOME)
    await table.fold((ITEMS, [late]))
    table.processor.forget_unreadable()
    table.registry.schemas += [{}] * (0x63 - len(table.registry.schemas) - 1) + [table.registry.schemas[0]]
    await table.fold((ITEMS, [late]))
    assert table.reasons() == ["unknown_schema_id", "undecodable"]


def long_key() -> str:
    keys = (f"{n}-{'x' * 230}" for n in range(1_000))
    return next(key for key in keys if partition_of(key.encode(), PARTITIONS) == HOME)


async def test_a_key_counts_as_well() -> None:
    """On the changelog it stands beside its state: together they were more than the topic takes, and ended the lane."""
    table = await new_table(max_state=300)
    long = long_key()
    await table.fold(table.items(Item(long, 1, "a")))
    assert table.states == {}
    assert table.reasons() == ["too_large"]


async def test_a_key_counts_in_what_is_told_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.lane.outgoing.MAX_OUTGOING_BYTES", 350)
    table = await new_table()
    long = long_key()
    await table.fold(table.items(Item(long, 1, "a")))
    assert table.states == {}
    assert table.reasons() == ["too_large"]


@pytest.mark.parametrize("at", [2**63 - 1, -(2**63), 2**53 + 1])
async def test_a_time_beyond_all_microseconds_ends_no_lane(table: Table, at: int) -> None:
    """Brokers before 4.0 take any; in microseconds it is more than a state or the view can hold."""
    first = raw(table.serde, ITEMS, Item(ONE, 1, "new"), timestamp=at)
    command = raw(table.serde, COMMANDS, Deposit(TWO, "c", 5), timestamp=at)
    await table.fold((ITEMS, [first, first._replace(value=None)]), (COMMANDS, [command]))
    assert table.reasons() == ["time_out_of_range"] * 3
    assert table.states == {}


@pytest.mark.parametrize("key", ["", "a\nb", "\0", "a\x7f", "x" * 256, "x" * 1_024])
async def test_what_is_no_id_at_the_edge_is_none_from_kafka(table: Table, key: str) -> None:
    """A path of an address could not name it. Whatever way it comes in: reported, asked for, deleted."""
    home = partition_of(key.encode(), PARTITIONS)
    told = raw(table.serde, ITEMS, Item(key, 1, "new"))
    asked = raw(table.serde, COMMANDS, Deposit(key, "c", 5), 1)
    folded = await table.processor.fold(home, [(ITEMS, [told, told._replace(value=None)]), (COMMANDS, [asked])], {}.get)
    assert folded.states == {}
    letters = [dict(letter.headers) for letter in folded.writes[dead_letters.TOPIC]]
    assert [letter[dead_letters.REASON] for letter in letters] == [b"invalid_id"] * 3
    assert list(folded.writes) == [dead_letters.TOPIC], "nothing is told of it"
    assert b"1 to 255 characters" in (letters[0]["__connect.errors.exception.message"] or b"")
    assert b"\n" not in (letters[0]["__connect.errors.exception.message"] or b"")


async def test_a_key_that_is_no_text_is_none_either(table: Table) -> None:
    key = b"a\xff"
    record = Raw(key, None, 0, HOME)
    folded = await table.processor.fold(partition_of(key, PARTITIONS), [(ITEMS, [record])], {}.get)
    assert folded.states == {}


async def test_the_longest_id_is_one_and_what_was_kept_before_can_be_changed_and_deleted(table: Table) -> None:
    longest, old = "é" * 255, "a\nb"
    home = partition_of(longest.encode(), PARTITIONS)
    folded = await table.processor.fold(home, [(ITEMS, [raw(table.serde, ITEMS, Item(longest, 1, "new"))])], {}.get)
    assert list(folded.states) == [f"{ITEMS}\0{longest}".encode()]
    (state,) = folded.states.values()
    kept = {f"{ITEMS}\0{old}".encode(): state}
    record = raw(table.serde, ITEMS, Item(old, 2, "changed"))
    changed = await table.processor.fold(record.partition, [(ITEMS, [record])], kept.get)
    assert changed.states[f"{ITEMS}\0{old}".encode()] is not None
    gone = await table.processor.fold(record.partition, [(ITEMS, [record._replace(value=None)])], kept.get)
    assert gone.states == {f"{ITEMS}\0{old}".encode(): None}


async def test_keys_of_all_kinds_end_no_lane(table: Table) -> None:
    keys = ["", "\0", "a\0b", "\ud7ff", "é" * 300]
    for key in keys:
        home = partition_of(key.encode(), PARTITIONS)
        record = raw(table.serde, ITEMS, Item(key, 1, "new"))
        await table.fold((ITEMS, [record._replace(partition=home), record._replace(value=None)]))
