"""The reference fold of the chaos runs beside the lanes' own fold: sagas, refusals and reactions come out the same."""

from __future__ import annotations

from typing import Any

from aiokafka.structs import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from streams.kafka import dead_letters
from streams.kafka.partitioner import partition_of
from tests.chaos.reference import Place, expect, is_written_by, written_ids
from tests.support.lanes import Lanes, new_lanes
from tests.support.local import PARTITIONS
from tests.support.trial import LIMIT, TRIAL, Deposit, Item, Refund, Transfer

COMMANDS, REPLIES = "trial.account.commands", "trial.account.replies"
KEYS = ["a", "b", "c"]


async def check(lanes: Lanes) -> None:
    """Tables, and every record that the lanes wrote, are what the reference says."""
    sources: dict[str, list[ConsumerRecord]] = {topic: lanes.records(topic) for topic in TRIAL.sources}
    expected = await expect(TRIAL, lanes.serde, sources)
    assert lanes.tables() == expected.states
    found: dict[Place, list[str]] = {}
    for topic in (*TRIAL.writes, dead_letters.TOPIC):
        mixed = topic in TRIAL.sources and topic != "trial.account"
        records = [r for r in lanes.records(topic) if not mixed or is_written_by(TRIAL, r)]
        found |= written_ids(topic, records, expected.causes)
    assert found == expected.written


accounts = st.sampled_from(KEYS)
amounts = st.sampled_from([1, 300, 700, 900, -1, 0])
produced = st.one_of(
    st.tuples(st.just("trial.item"), st.builds(Item, accounts, st.integers(1, 9), st.sampled_from(["new", "sold"]))),
    st.tuples(st.just(COMMANDS), st.builds(Deposit, accounts, st.just("c"), amounts)),
    st.tuples(st.just(COMMANDS), st.builds(Transfer, accounts, st.just("c"), st.sampled_from(["", *KEYS]), amounts)),
    st.tuples(st.just("trial.item"), st.one_of(st.just(b"noise"), st.none())),
)  # fmt: skip


@given(st.lists(st.one_of(produced, st.tuples(st.integers(0, PARTITIONS - 1), st.integers(1, 4))), max_size=40))
async def test_the_reference_says_what_lanes_do_in_any_order(history: list[Any]) -> None:
    """A history of records that come, and of lanes that fold a batch meanwhile."""
    lanes = await new_lanes(TRIAL)
    for what, value in history:
        if isinstance(what, int):
            await lanes.step(what, value)
        elif value is None or isinstance(value, bytes):
            lanes.append(what, partition_of(b"a", PARTITIONS), b"a", value)
        else:
            lanes.produce(what, value)
    await lanes.finish()
    await check(lanes)
    await check_money(lanes, [value for _, value in history])


async def check_money(lanes: Lanes, history: list[Any]) -> None:
    """No transfer makes or loses money, and each command that came from outside gets one reply."""
    replies = await lanes.rows(REPLIES)
    assert len(replies) == sum(isinstance(row, Deposit | Transfer) for row in history)
    commands = await lanes.rows(COMMANDS)
    deposits, refunds = ([row for row in commands if isinstance(row, kind)] for kind in (Deposit, Refund))
    balances = [s.balance for key, s in lanes.tables().items() if key.startswith(b"trial.account\0")]
    assert sum(balances) <= sum(max(0, row.amount) for row in deposits)
    assert all(balance >= 0 for balance in balances)
    assert all(balance <= LIMIT for balance in balances) or refunds


async def test_a_command_that_is_passed_on_gets_one_reply_from_the_last_decider() -> None:
    """Sender and receiver both replied, under one id, and the gateway took the first: that it was passed on."""
    lanes = await new_lanes(TRIAL)
    for row in (Deposit("a", "c1", 900), Deposit("b", "c2", 900), Transfer("a", "c3", "c", 400),
                Transfer("a", "c4", "b", 400), Transfer("a", "c5", "b", 700)):  # fmt: skip
        lanes.produce(COMMANDS, row)
    await lanes.finish()
    replies = await lanes.rows(REPLIES)
    said = {reply.command_id: (reply.ext_id, reply.outcome, reply.code) for reply in replies}
    assert len(said) == len(replies)
    assert said == {
        "c1": ("a", "ACCEPTED", None),
        "c2": ("b", "ACCEPTED", None),
        "c3": ("c", "ACCEPTED", None),
        "c4": ("b", "REJECTED", "over_limit"),
        "c5": ("a", "REJECTED", "not_covered"),
    }
    balances = {key: state.balance for key, state in lanes.tables().items()}
    assert balances == {b"trial.account\0a": 500, b"trial.account\0b": 900, b"trial.account\0c": 400}
    await check(lanes)
