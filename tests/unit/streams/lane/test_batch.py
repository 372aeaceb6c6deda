"""The fold of a batch: what changes, what is written, what is parked."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec.serde import Serde
from schemas.commands import CommandReply
from streams.aggregate import Aggregate, Cause, Domain, Outgoing
from streams.kafka import dead_letters
from streams.kafka.partitioner import partition_of
from streams.kafka.transactions import OtherPartition, ProducerRecord
from streams.lane.processor import BatchProcessor, Folded
from tables.layout import State, layout
from tests.support.local import PARTITIONS, LocalRegistry, Raw, keys_of, local_serde, raw
from tests.support.trial import TRIAL, Deposit, Deposited, Item, ItemMoved, Receive, Transfer

HOME = 3
ONE, TWO = keys_of(HOME, 2)
ITEMS, COMMANDS = "trial.item", "trial.account.commands"


class Table:
    """Local state and everything written so far: what lane, RocksDB and Kafka are to a processor."""

    def __init__(self, serde: Serde, registry: LocalRegistry, max_state: int = 10_000) -> None:
        self.serde, self.registry = serde, registry
        self.processor = BatchProcessor(TRIAL, serde, PARTITIONS, max_state)
        self.states: dict[bytes, bytes] = {}
        self.written: dict[str, list[ProducerRecord]] = {}

    async def fold(self, *batches: tuple[str, list[Raw]]) -> Folded:
        folded = await self.processor.fold(HOME, batches, self.states.get)
        for key, value in folded.states.items():
            if value is None:
                self.states.pop(key, None)
            else:
                self.states[key] = value
        for topic, entries in folded.writes.items():
            assert isinstance(topic, str)
            self.written.setdefault(topic, []).extend(entries)
        return folded

    def state(self, aggregate: str, key: str) -> State | None:
        data = self.states.get(f"{aggregate}\0{key}".encode())
        return None if data is None else layout(aggregate).load(data)

    async def rows(self, topic: str) -> list[Any]:
        return [await self.serde.decode(topic, entry.value or b"") for entry in self.written.get(topic, [])]

    def reasons(self) -> list[str]:
        letters = self.written.get(dead_letters.TOPIC, [])
        return [dict(letter.headers)[dead_letters.REASON].decode() for letter in letters]

    def items(self, *rows: Item, start: int = 0) -> tuple[str, list[Raw]]:
        return ITEMS, [raw(self.serde, ITEMS, row, offset) for offset, row in enumerate(rows, start)]

    def commands(self, *rows: Deposit, start: int = 0) -> tuple[str, list[Raw]]:
        return COMMANDS, [raw(self.serde, COMMANDS, row, offset) for offset, row in enumerate(rows, start)]


async def new_table(max_state: int = 10_000) -> Table:
    return Table(*await local_serde(*TRIAL.sources, *TRIAL.writes, "estate.city"), max_state)


@pytest.fixture
async def table() -> Table:
    return await new_table()


async def test_a_change_is_folded_and_others_are_told(table: Table) -> None:
    await table.fold(table.items(Item(ONE, 1, "new"), Item(ONE, 2, "sold"), Item(TWO, 1, note="quiet")))
    state = table.state(ITEMS, ONE)
    assert state is not None
    assert (state.status, state.update_id, state.version, state.changed_at) == ("sold", 2, 2, 1_001_000)
    moves = await table.rows("trial.out")
    assert [(m.ext_id, m.old, m.new) for m in moves] == [(ONE, None, "new"), (ONE, "new", "sold")]
    assert moves[0].move_id == Cause(ITEMS, HOME, 0, 0).id(0)


async def test_what_is_told_carries_its_id_and_cause_in_headers(table: Table) -> None:
    topic, (record,) = table.items(Item(ONE, 1, "new"))
    trace = ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    await table.fold((topic, [record._replace(headers=[trace])]))
    (entry,) = table.written["trial.out"]
    headers = dict(entry.headers)
    assert headers["ce_id"].decode() == Cause(ITEMS, HOME, 0, 0).id(0)
    assert headers["ce_type"] == b"kounter.trial.ItemMoved"
    assert headers["ce_source"] == b"kounter/trial"
    assert headers["traceparent"] == trace[1]
    assert (entry.key, entry.timestamp) == (ONE.encode(), record.timestamp)


async def test_a_time_of_the_future_is_not_passed_on(table: Table) -> None:
    """Brokers refuse it, and with it the transaction: the lane failed at every start, until that time had come."""
    topic, (record,) = table.items(Item(ONE, 1, "new"))
    ahead = int(time.time() * 1_000) + 5 * 3_600_000
    await table.fold((topic, [record._replace(timestamp=ahead)]))
    (entry,) = table.written["trial.out"]
    assert (entry.timestamp or ahead) < ahead - 4 * 3_600_000
    state = table.state(ITEMS, ONE)
    assert getattr(state, "changed_at", None) == ahead * 1_000, "the state has the record's own"


async def test_what_is_told_to_another_aggregate_goes_where_its_key_is_at_home() -> None:
    away = keys_of(HOME + 1, 1)[0]

    def ask(before: State | None, after: State | None, event: Any, cause: Cause) -> list[Outgoing]:
        return [Outgoing(COMMANDS, Deposit(key, cause.id(n), 5)) for n, key in enumerate((TWO, away))]

    domain = Domain("trial", (Aggregate(ITEMS, react=ask), TRIAL.aggregates[1]))
    serde, _ = await local_serde(*domain.writes)
    folded = await BatchProcessor(domain, serde, PARTITIONS, 10_000).fold(
        HOME, [(ITEMS, [raw(serde, ITEMS, Item(ONE, 1, "new"))])], {}.get
    )
    assert {target: [entry.key for entry in entries] for target, entries in folded.writes.items()} == {
        COMMANDS: [TWO.encode()],
        OtherPartition(COMMANDS, HOME + 1): [away.encode()],
    }


async def test_duplicates_and_stale_records_change_nothing_and_are_counted(table: Table) -> None:
    await table.fold(table.items(Item(ONE, 5, "new")))
    folded = await table.fold(table.items(Item(ONE, 5, "sold"), Item(ONE, 4, "sold"), start=1))
    assert folded == Folded({}, {})
    stats = table.processor.stats
    assert (stats.records, stats.folded, stats.duplicates, stats.stale) == (3, 1, 1, 1)


async def test_a_tombstone_deletes_and_one_for_what_never_was_is_nothing(table: Table) -> None:
    await table.fold(table.items(Item(ONE, 1, "new")))
    folded = await table.fold((ITEMS, [Raw(ONE.encode(), None, 1, HOME), Raw(TWO.encode(), None, 2, HOME)]))
    assert folded.states == {f"{ITEMS}\0{ONE}".encode(): None}
    assert table.reasons() == []
    await table.fold(table.items(Item(ONE, 1, "again"), start=3))
    state = table.state(ITEMS, ONE)
    assert state is not None
    assert state.version == 1


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


async def test_a_command_is_decided_folded_and_answered(table: Table) -> None:
    await table.fold(table.commands(Deposit(ONE, "c1", 10), Deposit(ONE, "c2", 5)))
    state = table.state("trial.account", ONE)
    assert state is not None
    assert (state.balance, state.last_command, state.update_id, state.version) == (15, "c2", 2, 2)
    assert await table.rows("trial.account") == [Deposited(ONE, 1, 10, "c1"), Deposited(ONE, 2, 15, "c2")]
    replies = await table.rows("trial.account.replies")
    assert replies == [CommandReply(ONE, "c1", "ACCEPTED", 1), CommandReply(ONE, "c2", "ACCEPTED", 2)]  # type: ignore[arg-type]


async def test_a_refused_command_changes_nothing_and_is_answered(table: Table) -> None:
    folded = await table.fold(table.commands(Deposit(ONE, "c1", -1)))
    assert folded.states == {}
    (reply,) = await table.rows("trial.account.replies")
    assert (reply.outcome, reply.code, reply.version) == ("REJECTED", "not_positive", 0)
    assert "trial.account" not in table.written


async def test_a_command_that_is_passed_on_is_not_answered_here(table: Table) -> None:
    await table.fold(table.commands(Deposit(ONE, "c1", 10)))
    transfer = raw(table.serde, COMMANDS, Transfer(ONE, "c2", TWO, 7), 1)
    await table.fold((COMMANDS, [transfer]))
    assert [reply.command_id for reply in await table.rows("trial.account.replies")] == ["c1"]
    assert await table.rows(COMMANDS) == [Receive(TWO, "c2", ONE, 7)]
    state = table.state("trial.account", ONE)
    assert state is not None
    assert (state.balance, state.version) == (3, 2)


async def test_decided_events_read_back_are_duplicates(table: Table) -> None:
    await table.fold(table.commands(Deposit(ONE, "c1", 10), Deposit(ONE, "c2", 5)))
    echo = [
        Raw(entry.key, entry.value, offset, HOME, entry.timestamp or 0)
        for offset, entry in enumerate(table.written["trial.account"])
    ]
    before = dict(table.states)
    assert await table.fold(("trial.account", echo)) == Folded({}, {})
    assert table.states == before

    replayed = await new_table()
    await replayed.fold(("trial.account", echo))
    assert replayed.states == before, "a replay of the topic alone gives the same state"


async def test_an_error_of_a_domains_function_says_at_which_record(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(vars(TRIAL.by_topic[ITEMS]), "react", fails)
    with pytest.raises(ZeroDivisionError) as caught:
        await table.fold(table.items(Item(ONE, 1), Item(ONE, 2, "new")))
    assert caught.value.__notes__ == ["while folding trial.item partition 3 offset 0"]
    assert table.states == {}


histories = st.lists(
    st.tuples(
        st.sampled_from([ONE, TWO]),
        st.integers(1, 9),
        st.sampled_from(["a", "b", None]),
        st.sampled_from(["item", "command", "tombstone", "junk"]),
    ),
    max_size=25,
)


@given(histories, st.lists(st.integers(1, 6), max_size=25))
async def test_any_split_into_batches_gives_the_same(history: list[Any], cuts: list[int]) -> None:
    whole, split = await new_table(), await new_table()
    records: list[tuple[str, Raw]] = []
    for offset, (key, number, status, kind) in enumerate(history):
        if kind == "item":
            records.append((ITEMS, raw(whole.serde, ITEMS, Item(key, number, status), offset)))
        elif kind == "command":
            records.append((COMMANDS, raw(whole.serde, COMMANDS, Deposit(key, f"c{offset}", number), offset)))
        else:
            value = None if kind == "tombstone" else b"junk"
            records.append((ITEMS, Raw(key.encode(), value, offset, partition_of(key.encode(), PARTITIONS))))
    await whole.fold(*((topic, [record]) for topic, record in records))
    at = 0
    for cut in [*cuts, len(records)]:
        await split.fold(*((topic, [record]) for topic, record in records[at : at + cut]))
        at += cut
    assert split.states == whole.states
    assert split.written == whole.written


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
