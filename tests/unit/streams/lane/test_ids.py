"""Ids that follow from a cause: none comes twice, however many records a command tells, and old ones stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from schemas.cloudevents import cause_id
from schemas.commands import CommandReply
from schemas.fields import ExtId, Int, Text
from schemas.record import also_on, namespace
from streams.aggregate import Accepted, Aggregate, Cause, Domain, Outgoing, Rejected, id_number
from streams.lane.processor import BatchProcessor
from tables.layout import State
from tests.support.local import PARTITIONS, keys_of, local_serde, raw

record = namespace("test_ids")

HOME = 3
ONE, *MANY = keys_of(HOME, 1_000)
COMMANDS = "crowd.thing.commands"


@record(COMMANDS, key="ext_id")
class Announce(NamedTuple):
    """Ask a thing to tell others, and each of its events to do so too."""

    ext_id: ExtId
    command_id: Text = ""
    told: Int = 0
    by_event: Int = 0
    events: Int = 1


@record("crowd.thing", key="ext_id")
class Announced(NamedTuple):
    """Decided."""

    ext_id: ExtId
    update_id: Int | None = None
    by_event: Int | None = None


@record("crowd.out", key="ext_id")
class Word(NamedTuple):
    """What one of the many is told."""

    ext_id: ExtId
    word_id: Text = ""


also_on(CommandReply, "crowd.thing.replies")


def words(count: int, cause: Cause) -> list[Outgoing]:
    return [Outgoing("crowd.out", Word(MANY[n % 999], cause.id(n))) for n in range(count)]


def decide(before: State | None, command: Announce, cause: Cause) -> Accepted | Rejected:
    told = words(command.told, cause)
    if not command.events:
        return Rejected("no", "no events", told)
    return Accepted([Announced(command.ext_id, by_event=command.by_event)] * command.events, tell=told)


def react(before: State | None, after: State | None, event: Any, cause: Cause) -> Sequence[Outgoing]:
    return words(event.by_event, cause)


CROWD = Domain("crowd", (Aggregate("crowd.thing", react=react, decide=decide),), ("crowd.out",))


async def ids_of(command: Announce) -> tuple[list[str], list[str]]:
    """Ids of all records that the command leads to, in the order they are written; ids that the domain asked for."""
    serde, _ = await local_serde(*CROWD.sources, *CROWD.writes)
    records = [(COMMANDS, [raw(serde, COMMANDS, command, 7)])]
    folded = await BatchProcessor(CROWD, serde, PARTITIONS, 10_000).fold(HOME, records, lambda _: None)
    written = [dict(entry.headers)["ce_id"].decode() for entries in folded.writes.values() for entry in entries]
    told: list[Any] = [await serde.decode("crowd.out", entry.value or b"") for entry in folded.writes["crowd.out"]]
    return written, [word.word_id for word in told]


async def test_a_command_that_tells_three_thousand_records_gives_each_an_id_of_its_own() -> None:
    """The 1,000th had the id of the command's first event, and of the reactions of an event likewise."""
    written, _ = await ids_of(Announce(ONE, "c", told=3_000, by_event=3_000, events=2))
    assert len(written) == 3_000 + 2 * 3_000 + 2 + 1
    assert len(set(written)) == len(written)
    refused, _ = await ids_of(Announce(ONE, "c", told=3_000, events=0))
    assert len(set(refused)) == 3_001


async def test_ids_that_a_rule_asks_for_do_not_come_twice_either() -> None:
    """A rule gives them to the commands that it tells: two of one id would take each other's reply."""
    _, told = await ids_of(Announce(ONE, "c", told=3_000, by_event=3_000, events=2))
    assert len(set(told)) == 9_000


async def test_ids_of_old_histories_stay() -> None:
    """As the code before gave them: an event's at a multiple of 1,000, its reactions behind it, the reply's at 0."""
    written, told = await ids_of(Announce(ONE, "c", told=999, by_event=999, events=2))
    n = [*(i for i in (1_000, 2_000)), *range(1_001, 2_000), *range(2_001, 3_000), *range(1, 1_000), 0]
    assert sorted(written) == sorted(cause_id(COMMANDS, HOME, 7, number) for number in n)
    asked = [*range(1_001, 2_000), *range(2_001, 3_000), *range(999)]
    assert told == [cause_id(COMMANDS, HOME, 7, number) for number in asked]


def test_a_record_that_is_no_command_numbers_its_ids_on_and_on() -> None:
    cause = Cause("t", 1, 2, 3)
    assert [cause.id(n) for n in (0, 999, 1_000, 5_000)] == [cause_id("t", 1, 2, n) for n in (0, 999, 1_000, 5_000)]


places = st.tuples(st.integers(0, 10**6), st.one_of(st.integers(0, 2_000), st.integers(0, 10**9 - 1)))


@given(st.sets(places, max_size=50))
def test_numbers_of_ids_are_unique(pairs: set[tuple[int, int]]) -> None:
    assert len({id_number(*pair) for pair in pairs}) == len(pairs)
