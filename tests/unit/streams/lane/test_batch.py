"""The fold of a batch: what changes, what is written, what is decided."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.commands import CommandReply
from streams.aggregate import Aggregate, Cause, Domain, Outgoing
from streams.kafka.partitioner import partition_of
from streams.kafka.transactions import OtherPartition
from streams.lane.processor import BatchProcessor, Folded
from tables.layout import State
from tests.support.local import PARTITIONS, Raw, keys_of, local_serde, raw
from tests.support.trial import TRIAL, Deposit, Deposited, Item, Receive, Transfer
from tests.unit.streams.lane.table import COMMANDS, HOME, ITEMS, ONE, TWO, Table, new_table


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
