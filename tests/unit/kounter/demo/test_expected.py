"""The demonstration's verdict: what it must not report, and what it must."""

from __future__ import annotations

from kounter.demo.expected import Reference, compare_commands
from schemas.bitrix24 import CardAction, CardCommand

CREATE, MOVE = CardAction.CREATE_CARD, CardAction.MOVE_CARD


def told(number: int, action: str, stage: str | None, comment: str | None) -> CardCommand:
    return CardCommand(
        ext_id="lead-1",
        command_id=f"c{number}",
        aggregate="estate.lead",
        action=action,
        stage=stage,
        comment=comment,
        reply_topic="estate.lead",
    )


WANTED = [
    told(1, CREATE, "NEW", "status: OPEN"),
    told(2, MOVE, "NEW", "status: CHECK_LEAD"),
    told(3, MOVE, "PROCESSED", "status: BOOKED"),
]
REFERENCE = Reference({}, {"lead-1": WANTED}, records=3)


def test_a_command_that_says_only_what_is_new_is_the_whole_one() -> None:
    """The reference knows no receipts; the lane, once the card is known, leaves out what it shows already."""
    short = [WANTED[0], told(2, MOVE, None, "status: CHECK_LEAD"), WANTED[2]]
    assert compare_commands(REFERENCE, short) == ([], [])


def test_what_leaves_the_card_otherwise_is_found() -> None:
    for wrong in (
        [],
        WANTED[:2],
        [WANTED[0], WANTED[2], WANTED[1]],
        [*WANTED[:2], told(3, MOVE, None, "status: BOOKED")],
        [*WANTED[:2], told(3, CREATE, "PROCESSED", "status: BOOKED")],
    ):
        lost, doubled = compare_commands(REFERENCE, wrong)
        assert len(lost) == 1
        assert doubled == []


def test_a_reaction_that_was_told_twice_is_doubled() -> None:
    assert compare_commands(REFERENCE, [*WANTED, WANTED[2]]).doubled == ["command c3: 2 times"]
