"""Requests under an Idempotency-Key, of a domain that has them in a few lines, and of crm's older records."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.commands import CommandReply
from schemas.crm import BeginRequest, RequestDone, UserOperation
from schemas.fields import ExtId, Int, Text
from schemas.record import also_on, namespace
from schemas.requests import KeyedRequest, RequestAnswered, keyed, requests_on
from streams.aggregate import Accepted, Aggregate, Cause, Domain, Outgoing, Rejected
from streams.domains.crm import CRM
from streams.idempotency import ANSWERED, fingerprint, keyed_requests
from tables.layout import State
from tests.support.lanes import Lanes, new_lanes

record = namespace("test_idempotency")


@record("shop.shelf.commands", key="ext_id")
class TakeOne(NamedTuple):
    """Ask for one of what lies on a shelf: a step that the basket decides follows."""

    ext_id: ExtId
    command_id: Text = ""
    basket: Text = ""
    request: Text | None = None


@record("shop.shelf", key="ext_id")
class Taken(NamedTuple):
    """Decided."""

    ext_id: ExtId
    update_id: Int | None = None
    taken: Int | None = None


@record("shop.basket.commands", key="ext_id")
class PutIn(NamedTuple):
    """Told by the shelf."""

    ext_id: ExtId
    command_id: Text = ""
    request: Text | None = None


@record("shop.basket", key="ext_id")
class Filled(NamedTuple):
    """Decided."""

    ext_id: ExtId
    update_id: Int | None = None
    things: Int | None = None


requests_on("shop.request")
also_on(CommandReply, "shop.shelf.replies", "shop.basket.replies")
REQUESTS = keyed_requests("shop.request", TakeOne)


def decide_shelf(before: State | None, command: TakeOne, cause: Cause) -> Accepted | Rejected:
    taken = 0 if before is None else before.taken
    if taken >= 3:
        return Rejected("empty", "nothing is left")
    put = PutIn(command.basket or "b", command.command_id, command.request)
    return Accepted(
        [Taken(command.ext_id, taken=taken + 1)], tell=[Outgoing("shop.basket.commands", put)], replies=False
    )


def decide_basket(before: State | None, command: PutIn, cause: Cause) -> Accepted | Rejected | list[Filled]:
    things = 0 if before is None else before.things
    if things >= 2:
        return Rejected("full", "no room is left")
    return [Filled(command.ext_id, things=things + 1)]


SHOP = Domain(
    "shop",
    aggregates=(
        REQUESTS.aggregate,
        Aggregate("shop.shelf", decide=REQUESTS.answering(decide_shelf)),
        Aggregate("shop.basket", decide=REQUESTS.answering(decide_basket)),
    ),
)


def ask(lanes: Lanes, key: str, command_id: str, shelf: str = "s", basket: str = "b") -> None:
    command = TakeOne(shelf, basket=basket)
    lanes.produce("shop.request.commands", keyed(key, command_id, fingerprint("take", shelf, {"b": basket}), command))


async def replies(lanes: Lanes) -> list[tuple[str | None, str | None, str | None]]:
    """Id, outcome and code of all replies of a domain."""
    found = [row for topic in lanes.domain.replies for row in await lanes.rows(topic)]
    return sorted((row.command_id, row.outcome, row.code) for row in found)


def answer(lanes: Lanes, key: str, topic: str = "shop.request") -> State:
    return lanes.tables()[f"{topic}\0{key}".encode()]


async def test_a_request_through_two_aggregates_is_carried_out_once_and_replied_to_once() -> None:
    lanes = await new_lanes(SHOP)
    ask(lanes, "k", "c1")
    await lanes.finish()
    assert await replies(lanes) == [("c1", "ACCEPTED", None)]
    assert len(await lanes.rows("shop.basket.replies")) == 1, "the last decider replies"
    state = answer(lanes, "k")
    assert (state.outcome, state.subject, state.version) == ("ACCEPTED", "b", ANSWERED)
    ask(lanes, "k", "c2")
    await lanes.finish()
    assert await replies(lanes) == [("c1", "ACCEPTED", None), ("c2", "ACCEPTED", None)]
    assert answer(lanes, "k") == state
    assert lanes.tables()[b"shop.shelf\0s"].taken == 1


async def test_the_same_key_for_something_else_is_refused() -> None:
    lanes = await new_lanes(SHOP)
    ask(lanes, "k", "c1")
    ask(lanes, "k", "c2", basket="other")
    await lanes.finish()
    assert await replies(lanes) == [("c1", "ACCEPTED", None), ("c2", "REJECTED", "idempotency_key_reused")]


async def test_a_refusal_of_any_step_is_the_answer_for_ever() -> None:
    lanes = await new_lanes(SHOP)
    for n in range(3):
        ask(lanes, f"k{n}", f"c{n}")
        await lanes.finish()
    ask(lanes, "k3", "c3")
    ask(lanes, "k4", "c4", basket="other")
    await lanes.finish()
    assert (answer(lanes, "k2").outcome, answer(lanes, "k2").code) == ("REJECTED", "full")
    assert (answer(lanes, "k3").outcome, answer(lanes, "k3").code) == ("REJECTED", "empty")
    assert [code for _, _, code in await replies(lanes)] == [None, None, "full", "empty", "empty"]


@pytest.mark.parametrize("fields", ["", "[]", '{"ext_id": 7}', '{"ext_id": "s", "colour": 1}', "{}"])
async def test_a_request_that_can_not_be_read_is_refused_and_nothing_begins(fields: str) -> None:
    lanes = await new_lanes(SHOP)
    lanes.produce("shop.request.commands", KeyedRequest("k", "c", "f", "kounter.test_idempotency.TakeOne", fields))
    await lanes.finish()
    assert await replies(lanes) == [("c", "REJECTED", "invalid_request")]
    assert lanes.states == {}


async def test_commands_without_a_key_are_carried_out_as_ever() -> None:
    lanes = await new_lanes(SHOP)
    lanes.produce("shop.shelf.commands", TakeOne("s", "c1", "b"))
    await lanes.finish()
    assert await replies(lanes) == [("c1", "ACCEPTED", None)]
    assert b"shop.request\0" not in b"".join(lanes.states)


def test_a_command_without_room_for_the_key_is_refused_at_import() -> None:
    with pytest.raises(TypeError, match="Filled: expected the fields command_id, request, came none named command_id"):
        keyed_requests("shop.request", Filled)


steps = st.one_of(
    st.tuples(st.sampled_from(["k1", "k2", "k3"]), st.sampled_from(["s", "t"]), st.sampled_from(["b", "c"])),
    st.tuples(st.integers(0, 7), st.integers(1, 3)),
)


@given(st.lists(steps, max_size=25))
async def test_each_key_is_carried_out_once_in_any_order_of_the_lanes(history: list[Any]) -> None:
    lanes, asked = await new_lanes(SHOP), 0
    for step in history:
        if isinstance(step[0], int):
            await lanes.step(*step)
        else:
            ask(lanes, step[0], f"c{asked:03}", *step[1:])
            asked += 1
    await lanes.finish()
    assert [id for id, _, _ in await replies(lanes)] == [f"c{n:03}" for n in range(asked)], "one reply each"
    answers = [row for row in await lanes.rows("shop.request") if isinstance(row, RequestAnswered)]
    keys = [step[0] for step in history if isinstance(step[0], str)]
    assert sorted(row.ext_id for row in answers) == sorted(set(keys))
    taken = sum(state.taken for key, state in lanes.tables().items() if key.startswith(b"shop.shelf\0"))
    assert taken == len(await lanes.rows("shop.basket.commands"))


async def test_a_request_of_crm_is_replied_to_once_by_who_carries_it_out() -> None:
    """Request and directory both replied; a change that is mended in the portal was replied to though nobody asks."""
    lanes = await new_lanes(CRM)
    fields: dict[str, Any] = {"full_name": "Иван", "phone": "+77001112233", "stage": "NEW"}
    lanes.produce("crm.request.commands", BeginRequest("k1", "c1", "f1", UserOperation.ADD, **fields))
    await lanes.finish()
    lanes.produce("crm.request.commands", BeginRequest("k2", "c2", "f2", UserOperation.MOVE, 1, stage="JUNK"))
    lanes.produce("crm.request.commands", BeginRequest("k3", "c3", "f3", UserOperation.MOVE, 1, stage="JUNK"))
    lanes.produce("crm.request.commands", BeginRequest("k4", "c4", "f4", UserOperation.MOVE, 9, stage="JUNK"))
    await lanes.finish()
    assert await replies(lanes) == [
        ("c1", "ACCEPTED", None), ("c2", "ACCEPTED", None), ("c3", "ACCEPTED", None), ("c4", "REJECTED", "not_found")
    ]  # fmt: skip
    assert await lanes.rows("crm.request.replies") == []
    done = [row for row in await lanes.rows("crm.request") if isinstance(row, RequestDone)]
    assert sorted((row.ext_id, row.outcome, row.user_id, row.stage) for row in done) == [
        ("k1", "ACCEPTED", 1, "NEW"), ("k2", "ACCEPTED", 1, "JUNK"), ("k3", "ACCEPTED", 1, "JUNK"),
        ("k4", "REJECTED", None, None),
    ]  # fmt: skip
    assert {answer(lanes, key, "crm.request").version for key in ("k1", "k2", "k3", "k4")} == {ANSWERED}


def test_fingerprints_that_are_on_topics_stay() -> None:
    """Another hash would refuse every repeat of a request from before."""
    said = fingerprint(UserOperation.MOVE, 7, {"stage": "NEW"})
    assert said == fingerprint("MOVE", 7, {"stage": "NEW"})
    assert said == hashlib.sha256(b'["MOVE", 7, [["stage", "NEW"]]]').hexdigest()
