"""A domain for tests: an aggregate that decides, one that only reacts, and the topics around them."""

from __future__ import annotations

from typing import Any, NamedTuple

from schemas.commands import CommandReply
from schemas.fields import ExtId, Int, Text, Texts
from schemas.record import also_on, record
from streams.domain import Aggregate, Cause, Domain, Outgoing, Rejected
from tables.layout import State


@record("trial.item", key="ext_id", outside="trial_item")
class Item(NamedTuple):
    """A thing with a status."""

    ext_id: ExtId
    update_id: Int | None = None
    status: Text | None = None
    note: Text | None = None
    unset: Texts = ()


@record("trial.out", key="ext_id")
class ItemMoved(NamedTuple):
    """What others are told of an item."""

    ext_id: ExtId
    move_id: Text = ""
    old: Text | None = None
    new: Text | None = None


@record("trial.account.commands", key="ext_id")
class Deposit(NamedTuple):
    """Ask to add to an account. Refused if it is not positive, or above the limit of 1,000."""

    ext_id: ExtId
    command_id: Text = ""
    amount: Int = 0


@record("trial.account", key="ext_id")
class Deposited(NamedTuple):
    """Decided: the account's balance after a deposit."""

    ext_id: ExtId
    update_id: Int | None = None
    balance: Int | None = None
    last_command: Text | None = None
    unset: Texts = ()


also_on(CommandReply, "trial.account.replies")


def react_to_item(before: State | None, after: State | None, event: Any, cause: Cause) -> list[Outgoing]:
    old = None if before is None else before.status
    new = None if after is None else after.status
    return (
        [] if old == new else [Outgoing("trial.out", ItemMoved(event.ext_id, cause.id(0), old, new))] if event else []
    )


def decide_deposit(before: State | None, command: Deposit, cause: Cause) -> list[Deposited] | Rejected:
    balance = (0 if before is None else before.balance) + command.amount
    if command.amount <= 0:
        return Rejected("not_positive", f"a deposit of {command.amount}")
    if balance > 1_000:
        return Rejected("over_limit", f"{balance} is above 1000")
    return [Deposited(command.ext_id, balance=balance, last_command=command.command_id)]


TRIAL = Domain(
    "trial",
    aggregates=(Aggregate("trial.item", react=react_to_item), Aggregate("trial.account", decide=decide_deposit)),
    outboxes=("trial.out",),
)
