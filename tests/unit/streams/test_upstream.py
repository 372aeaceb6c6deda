"""Changes of upstream systems to decided things: by their own number, whatever the lane counts."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.commands import CommandReply
from schemas.fields import ExtId, Int, Text
from schemas.record import also_on, declare_all, namespace
from streams.aggregate import Accepted, Aggregate, Cause, Domain, Outgoing, Rejected
from streams.domains import DOMAINS
from streams.lane.processor import BatchProcessor
from streams.upstream import newest_only, updates_of
from tables.layout import State, layout
from tests.support.local import PARTITIONS, keys_of, local_serde, raw

record = namespace("test_upstream")

HOME = 3
(ONE,) = keys_of(HOME, 1)
COMMANDS, VISITS = "yard.visit.commands", "yard.visit"


@record(COMMANDS, key="ext_id", outside="yard_visit")
class MoveVisit(NamedTuple):
    """Ask for another status: a person does, or an upstream system says so under its own number."""

    ext_id: ExtId
    command_id: Text = ""
    status: Text = ""
    source: Text | None = None
    source_update_id: Int | None = None


@record(VISITS, key="ext_id")
class VisitMoved(NamedTuple):
    """Decided."""

    ext_id: ExtId
    update_id: Int | None = None
    status: Text | None = None
    source_updates: Text | None = None


@record(VISITS, key="ext_id")
class VisitClosed(NamedTuple):
    """Decided; it has no room for numbers."""

    ext_id: ExtId
    update_id: Int | None = None
    status: Text | None = None


also_on(CommandReply, "yard.visit.replies")


def decide_visit(before: State | None, command: MoveVisit, cause: Cause) -> list[Any] | Accepted | Rejected:
    if command.status == "wrong":
        return Rejected("unknown_status", "wrong")
    if before is not None and before.status == command.status:
        return []
    if command.status == "closed":
        return Accepted([VisitClosed(command.ext_id, status="closed")], subject="x")
    return [VisitMoved(command.ext_id, status=command.status)]


VISIT = Aggregate(VISITS, decide=newest_only(decide_visit, VisitMoved))
YARD = Domain("yard", (VISIT,))


class Yard:
    """The visit's state behind each command, by the real fold."""

    def __init__(self, processor: BatchProcessor, serde: Any) -> None:
        self._processor, self._serde = processor, serde
        self._states: dict[bytes, bytes] = {}
        self._offset = 0

    async def send(self, status: str, number: int | None = None, source: str | None = "brusnika") -> CommandReply:
        command = MoveVisit(ONE, "c", status, source, number)
        record = raw(self._serde, COMMANDS, command, self._offset)
        self._offset += 1
        folded = await self._processor.fold(HOME, [(COMMANDS, [record])], self._states.get)
        self._states |= {key: value for key, value in folded.states.items() if value is not None}
        (entry,) = folded.writes["yard.visit.replies"]
        reply: CommandReply = await self._serde.decode("yard.visit.replies", entry.value)
        return reply

    @property
    def state(self) -> State:
        (data,) = self._states.values()
        return layout(VISITS).load(data)


async def new_yard() -> Yard:
    serde, _ = await local_serde(*YARD.sources, *YARD.writes)
    return Yard(BatchProcessor(YARD, serde, PARTITIONS, 10_000), serde)


async def test_an_old_or_equal_number_is_rejected_as_old_news() -> None:
    yard = await new_yard()
    assert (await yard.send("open", 17)).outcome == "ACCEPTED"
    for number in (17, 16, -5):
        reply = await yard.send("failed", number)
        assert (reply.code, reply.reason) == ("old_news", f"'brusnika' said 17 before, came {number}")
    assert (yard.state.status, yard.state.update_id) == ("open", 1)
    assert (await yard.send("failed", 18)).outcome == "ACCEPTED"
    assert (yard.state.status, yard.state.update_id) == ("failed", 2), "the lane counts by itself"


async def test_an_upstream_number_that_is_the_lanes_next_one_is_no_duplicate() -> None:
    """On one topic with decided events such a change was dropped."""
    yard = await new_yard()
    await yard.send("a")
    await yard.send("b")
    await yard.send("c", 2)
    await yard.send("d", 3)
    assert (yard.state.status, yard.state.update_id) == ("d", 4)


async def test_each_source_counts_for_itself_and_who_does_not_count_passes() -> None:
    yard = await new_yard()
    await yard.send("a", 17)
    assert (await yard.send("b", 2, "portal")).outcome == "ACCEPTED"
    assert (await yard.send("c", None, "person")).outcome == "ACCEPTED"
    assert (await yard.send("d", 17)).code == "old_news"
    assert (await yard.send("d", 2, "portal")).code == "old_news"
    assert (await yard.send("d", 3, None)).outcome == "ACCEPTED"
    assert updates_of(yard.state) == {"brusnika": 17, "portal": 2, "": 3}


async def test_a_change_that_changes_nothing_counts_too() -> None:
    """Else an older one that comes later would undo it."""
    yard = await new_yard()
    await yard.send("open", 5)
    assert (await yard.send("open", 7)).outcome == "ACCEPTED"
    assert (await yard.send("failed", 6)).code == "old_news"
    assert (await yard.send("closed", 8)).subject == "x"
    assert (await yard.send("open", 8)).code == "old_news"
    assert (yard.state.status, yard.state.source_updates) == ("closed", "brusnika:8")


async def test_a_change_that_the_rules_reject_keeps_no_number() -> None:
    yard = await new_yard()
    assert (await yard.send("wrong", 9)).code == "unknown_status"
    assert (await yard.send("open", 9)).outcome == "ACCEPTED"


async def test_a_source_that_would_be_read_back_as_another_is_rejected() -> None:
    yard = await new_yard()
    await yard.send("open", 17)
    assert (await yard.send("failed", 1, "x brusnika")).code == "invalid_source"
    assert (await yard.send("failed", 1, "a:1")).outcome == "ACCEPTED"
    assert (await yard.send("open", 1, "a:1")).code == "old_news"


said = st.tuples(
    st.sampled_from(["open", "failed", "closed", "wrong"]),
    st.one_of(st.none(), st.integers(0, 6)),
    st.sampled_from(["brusnika", "portal"]),
)


@given(st.lists(said, max_size=12))
async def test_numbers_of_a_source_only_grow(history: list[tuple[str, int | None, str]]) -> None:
    yard, highest, status = await new_yard(), dict[str, int](), None
    for word, number, source in history:
        reply = await yard.send(word, number, source)
        is_old = number is not None and number <= highest.get(source, -1)
        assert (reply.code == "old_news") == is_old
        if reply.outcome == "ACCEPTED":
            status = word
            highest |= {} if number is None else {source: number}
    if status is not None:
        assert (yard.state.status, updates_of(yard.state)) == (status, highest)


@pytest.mark.parametrize("text", ["", "x", "x:", ":", "a:1:2", "a:٣", "a:" + "9" * 5_000, " : ", "a:-", "a:1 b"])
def test_what_a_stranger_wrote_as_numbers_ends_no_lane(text: str) -> None:
    state = layout(VISITS).blank(ONE)._replace(source_updates=text, version=1)
    verdict = VISIT.decide(state, MoveVisit(ONE, "c", "open", "a", 4), Cause("t", 0, 0, 1, 0)) if VISIT.decide else None
    assert isinstance(verdict, Accepted)


def test_an_event_class_without_room_for_numbers_is_refused() -> None:
    with pytest.raises(TypeError, match=r"VisitClosed: expected a field 'source_updates'"):
        newest_only(decide_visit, VisitClosed)


@record("yard.mixed", key="ext_id", outside="yard_mixed")
class MixedChange(NamedTuple):
    """An upstream system's own change, with its number."""

    ext_id: ExtId
    update_id: Int | None = None
    status: Text | None = None


@record("yard.mixed", key="ext_id")
class MixedDecided(NamedTuple):
    """Decided by the lane."""

    ext_id: ExtId
    update_id: Int | None = None
    status: Text | None = None


def test_a_domain_that_mixes_decided_events_and_upstream_records_is_refused() -> None:
    """An upstream change with the lane's next number was dropped as a duplicate, and nobody was told."""
    with pytest.raises(TypeError, match=r"yard\.mixed: .* MixedChange, .*'update_id'.* source_update_id"):
        Domain("yard", (Aggregate("yard.mixed", decide=decide_visit),))
    Domain("yard", (Aggregate("yard.mixed", react=lambda *_: list[Outgoing]()),))


def test_no_domain_of_ours_mixes_them_whichever_modules_are_imported() -> None:
    declare_all()
    for domain in DOMAINS.values():
        for aggregate in domain.aggregates:
            aggregate.check()
