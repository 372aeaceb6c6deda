"""The rules of the Core users: what is refused and in which words, and what follows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.bitrix24 import CardAction, CardChanged, CardOutcome, CardReceipt
from schemas.crm import (
    DIRECTORY,
    AddUser,
    ChangeUser,
    MendUser,
    MoveUser,
    RequestDone,
    UserCreated,
    UserMended,
    UserNumbered,
    UserOperation,
    UserUpdated,
)
from streams.aggregate import Accepted, Cause, Outgoing, Rejected
from streams.domains.crm import CRM, decide_directory, decide_user
from tables.layout import State
from tests.unit.streams.domains.crm_world import CAUSE, IVAN, World, add, begin, receive


def test_the_seeds_example() -> None:
    world = World()
    accepted = world.send(add())
    assert isinstance(accepted, Accepted)
    assert accepted.subject == "1"
    user = world.user(1)
    assert (user.user_id, user.full_name, user.phone, user.stage) == (1, "Иван Иванов", "+77001112233", "NEW")
    world.send(ChangeUser("1", "c", "Иван Петров", "+77001112233", "IN_PROCESS"))
    world.send(MoveUser("1", "c", "CONVERTED"))
    made = [(c.action, c.name, c.phone, c.stage) for c in world.cards()]
    assert made == [
        (CardAction.CREATE_CARD, "Иван Иванов", "+77001112233", "NEW"),
        (CardAction.UPDATE_CARD, "Иван Петров", "+77001112233", "IN_PROCESS"),
        (CardAction.MOVE_CARD, "Иван Петров", "+77001112233", "CONVERTED"),
    ]
    assert {(c.ext_id, c.aggregate, c.reply_topic) for c in world.cards()} == {("1", "crm.user", "crm.user")}


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"phone": None}, "missing_phone", "Missing phone number"),
        ({"phone": " "}, "missing_phone", "Missing phone number"),
        ({"phone": "87001112233"}, "invalid_phone", "E.164"),
        ({"phone": "+7700111223344556"}, "invalid_phone", "E.164"),
        ({"phone": "+7700111223x"}, "invalid_phone", "E.164"),
        ({"phone": "+77001112233;"}, "invalid_phone", "E.164"),
        ({"phone": "+77001112233\n"}, "invalid_phone", "E.164"),
        ({"phone": "+٧٧٠٠١١١٢٢٣٣"}, "invalid_phone", "E.164"),
        ({"full_name": None}, "missing_full_name", "Missing full name"),
        ({"full_name": "x" * 256}, "invalid_full_name", "255"),
        ({"full_name": "a\nb"}, "invalid_full_name", "one line"),
        ({"stage": None}, "missing_stage", "NEW, IN_PROCESS"),
        ({"stage": "new"}, "unknown_stage", "NEW, IN_PROCESS"),
        ({"stage": "NEW", "stages": ("UC_1", "WON")}, "unknown_stage", "UC_1, WON"),
    ],
)
def test_what_is_wrong_is_refused_and_takes_no_id(fields: dict[str, Any], code: str, words: str) -> None:
    world = World()
    refused = world.send(add(**fields))
    assert isinstance(refused, Rejected)
    assert refused.code == code
    assert words in refused.reason
    assert world.states == {}
    assert world.send(add()) == Accepted(
        [UserNumbered(DIRECTORY, last_id=1)], "1", [Outgoing("crm.user", UserCreated("1", 1, 1, **IVAN))]
    )


def test_a_phone_does_not_stand_in_a_refusal() -> None:
    refused = decide_directory(None, add(phone="87001112233"), CAUSE)
    assert isinstance(refused, Rejected)
    assert "7001112233" not in refused.reason.replace("+77001112233", "")


def test_a_stage_of_the_portals_own_is_taken() -> None:
    assert isinstance(World().send(add(stage="UC_1", stages=("NEW", "UC_1"))), Accepted)


def test_there_is_one_directory() -> None:
    refused = World().send(add()._replace(ext_id="others"))
    assert isinstance(refused, Rejected)
    assert refused.code == "unknown_directory"


@pytest.mark.parametrize("command", [ChangeUser("9", full_name="x"), MoveUser("9", stage="NEW")])
def test_who_does_not_exist_is_not_changed(command: Any) -> None:
    refused = decide_user(None, command, CAUSE)
    assert isinstance(refused, Rejected)
    assert refused.code == "not_found"


def test_absent_fields_stay_and_a_change_to_the_same_is_none() -> None:
    world = World()
    world.send(add())
    assert world.send(ChangeUser("1", "c", phone="+77009998877")) == Accepted([UserUpdated("1", phone="+77009998877")])
    assert (world.user(1).full_name, world.user(1).phone) == ("Иван Иванов", "+77009998877")
    for command in (ChangeUser("1"), ChangeUser("1", stage="NEW"), MoveUser("1", stage="NEW")):
        unchanged = world.send(command)
        assert isinstance(unchanged, Accepted)
        assert unchanged.events == []
    assert len(world.cards()) == 2


@pytest.mark.parametrize("fields", [{"phone": ""}, {"phone": "x"}, {"full_name": ""}, {"stage": "x"}, {"stage": ""}])
def test_a_change_is_held_to_the_same_rules(fields: dict[str, str]) -> None:
    world = World()
    world.send(add())
    assert isinstance(world.send(ChangeUser("1", **fields)), Rejected)  # type: ignore[arg-type]
    assert len(world.cards()) == 1


def test_what_became_of_the_card_is_part_of_the_user() -> None:
    world = World()
    world.send(add())
    receive(world, CardReceipt("1", "k", CardAction.CREATE_CARD, CardOutcome.SUCCESS, 456, None, 1))
    assert (world.user(1).bitrix_lead_id, world.user(1).bitrix_outcome) == (456, "SUCCESS")
    assert len(world.cards()) == 1, "a receipt asks for no card"
    world.send(MoveUser("1", stage="CONVERTED"))
    assert world.cards()[-1].bitrix_lead_id == 456


def test_an_extension_survives() -> None:
    world = World()
    world.send(add(phone="+77001112233;12"))
    assert (world.user(1).phone, world.cards()[-1].phone) == ("+77001112233;12", "+77001112233;12")


def test_a_change_leaves_alone_what_a_person_may_have_changed_in_the_portal() -> None:
    world = World()
    world.send(add())
    world.send(ChangeUser("1", phone="+77005556677"))
    assert world.cards()[-1].stage == "NEW", "nobody knows yet that the card is there: it may be made by this command"
    receive(world, CardReceipt("1", "k", CardAction.CREATE_CARD, CardOutcome.SUCCESS, 456, None, 1))
    receive(world, CardChanged("1", 456, "IN_PROCESS"))
    world.send(ChangeUser("1", phone="+77001112244"))
    card = world.cards()[-1]
    assert (card.stage, card.name, card.phone) == (None, None, "+77001112244")
    assert (card.old_phone, card.unset) == ("+77005556677", ()), "a person's own phone is not taken for it"


phones = st.sampled_from(["+77001112233", "+79991234567", None, "x"])

names = st.sampled_from(["Иван", "Пётр", None])

stages = st.sampled_from(["NEW", "JUNK", None, "x"])

none: Any = {"stages": st.just(()), "request": st.none()}

ids = st.sampled_from(["1", "2", "3"])

commands = st.one_of(
    st.builds(AddUser, st.just(DIRECTORY), st.just("c"), names, phones, stages, **none),
    st.builds(ChangeUser, ids, st.just("c"), names, phones, stages, **none),
    st.builds(MoveUser, ids, st.just("c"), stages, **none),
    st.builds(
        lambda key, operation, id, name, phone, stage: begin(
            key, operation, user_id=id, full_name=name, phone=phone, stage=stage
        ),
        st.sampled_from(["k1", "k2", "k3"]), st.sampled_from(UserOperation), st.integers(1, 3), names, phones, stages,
    ),
)  # fmt: skip


def replayed(history: Iterable[tuple[str, Any]]) -> dict[tuple[str, str], State]:
    """Every event again, twice, as it stands on the topics."""
    states: dict[tuple[str, str], State] = {}
    for topic, event in history:
        for _ in range(2):
            before = states.get((topic, event[0]))
            states[topic, event[0]] = CRM.by_topic[topic].evolve(before, event, 1)
    return states


@given(st.lists(commands, max_size=30))
def test_ids_are_dense_and_a_replay_ends_the_same(sent: list[Any]) -> None:
    world = World()
    for command in sent:
        world.send(command)
    given_ids = [state.user_id for (topic, _), state in world.states.items() if topic == "crm.user"]
    assert given_ids == list(range(1, len(given_ids) + 1))
    assert replayed(world.history) == world.states
    assert all(state.outcome for (topic, _), state in world.states.items() if topic == "crm.request")
    done = [event for topic, event in world.history if isinstance(event, RequestDone)]
    assert len(done) == len({event.ext_id for event in done}), "each request is carried out once"


def test_a_command_that_a_person_mended_makes_the_user_what_the_card_is() -> None:
    user = next(a for a in CRM.aggregates if a.topic == "crm.user")
    state = user.evolve(None, UserCreated("7", 1, 7, "Ann", "+77001112233", "NOSUCH"), 1)
    receipt = CardReceipt("7", "k", CardAction.MOVE_CARD, CardOutcome.SUCCESS, 456)
    cause = Cause("crm.user", 0, 5, 1)
    edited = receipt._replace(bitrix_edits='{"stage": ["NOSUCH", "OURS_1"], "name": ["Bob", "Rob"]}')
    after = user.evolve(state, edited, 2)
    assert user.react is not None
    ((topic, change),) = user.react(state, after, edited, cause)
    assert topic == "crm.user.commands"
    assert isinstance(change, MendUser)
    accepted = decide_user(after, change, cause)
    assert isinstance(accepted, Accepted)
    assert [(type(event), event.stage, event.full_name) for event in accepted.events] == [(UserMended, "OURS_1", None)]
