"""Requests of Core users under an Idempotency-Key: carried out once, and answered the same every time."""

from __future__ import annotations

from schemas.commands import CommandOutcome
from schemas.crm import (
    ChangeUser,
    UserOperation,
)
from streams.aggregate import Accepted, Rejected
from tests.unit.streams.domains.crm_world import World, add, begin, outcome


def test_a_request_is_carried_out_once_and_its_answer_stays() -> None:
    world = World()
    assert isinstance(world.send(begin("k1")), Accepted)
    world.send(ChangeUser("1", phone="+77000000000"))
    assert world.send(begin("k1")) == Accepted([])
    assert outcome(world, "k1") == (CommandOutcome.ACCEPTED, None, 1, "+77001112233")
    assert [topic for topic, key in world.states if topic == "crm.user"] == ["crm.user"]


def test_a_key_with_another_body_is_refused() -> None:
    world = World()
    world.send(begin("k1"))
    for other in (begin("k1", full_name="Пётр"), begin("k1", UserOperation.CHANGE, user_id=1)):
        refused = world.send(other)
        assert isinstance(refused, Rejected)
        assert refused.code == "idempotency_key_reused"
    assert outcome(world, "k1")[2] == 1


def test_a_refusal_under_a_key_is_the_same_every_time() -> None:
    world = World()
    first, again = (world.send(begin("k1", phone=None)) for _ in range(2))
    assert first == again == Rejected("missing_phone", "Missing phone number")
    for operation in (UserOperation.CHANGE, UserOperation.MOVE):
        key = operation.value
        assert isinstance(world.send(begin(key, operation, user_id=7)), Accepted)
        assert outcome(world, key)[:2] == (CommandOutcome.REJECTED, "not_found")


def test_a_change_and_a_move_under_a_key() -> None:
    world = World()
    world.send(add())
    world.send(begin("k1", UserOperation.CHANGE, user_id=1, phone="+77009998877"))
    world.send(begin("k2", UserOperation.MOVE, user_id=1, stage="JUNK"))
    world.send(begin("k3", UserOperation.MOVE, user_id=1, stage="JUNK"))
    assert (world.user(1).phone, world.user(1).stage) == ("+77009998877", "JUNK")
    assert [outcome(world, key)[0] for key in ("k1", "k2", "k3")] == ["ACCEPTED"] * 3
