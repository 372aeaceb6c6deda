"""A domain for tests: an aggregate that decides, one that only reacts, and the topics around them."""

from __future__ import annotations

from typing import Any, NamedTuple

from schemas.commands import CommandReply
from schemas.fields import ExtId, Int, Text, Texts
from schemas.record import also_on, namespace
from streams.aggregate import Accepted, Aggregate, Cause, Domain, Outgoing, Rejected
from tables.layout import State

record = namespace("trial")


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


@record("trial.account.commands", key="ext_id")
class Transfer(NamedTuple):
    """Ask to move an amount to another account. It is passed on to that one, which replies."""

    ext_id: ExtId
    command_id: Text = ""
    to: Text = ""
    amount: Int = 0


@record("trial.account.commands", key="ext_id")
class Receive(NamedTuple):
    """Told by a transfer: the amount has left ``sender``. Refused above the limit, and then it goes back."""

    ext_id: ExtId
    command_id: Text = ""
    sender: Text = ""
    amount: Int = 0


@record("trial.account.commands", key="ext_id")
class Refund(NamedTuple):
    """Told by a transfer that was refused: never refused itself, and nobody waits for a reply."""

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


@record("trial.account", key="ext_id")
class Withdrawn(NamedTuple):
    """Decided: the account's balance after an amount has left it."""

    ext_id: ExtId
    update_id: Int | None = None
    balance: Int | None = None
    last_command: Text | None = None


also_on(CommandReply, "trial.account.replies")
LIMIT = 1_000


def react_to_item(before: State | None, after: State | None, event: Any, cause: Cause) -> list[Outgoing]:
    old = None if before is None else before.status
    new = None if after is None else after.status
    return (
        [] if old == new else [Outgoing("trial.out", ItemMoved(event.ext_id, cause.id(0), old, new))] if event else []
    )


def decide_account(before: State | None, command: Any, cause: Cause) -> list[Deposited] | Accepted | Rejected:
    if isinstance(command, Transfer):
        return _pass_on(before, command, cause)
    balance = (0 if before is None else before.balance) + command.amount
    deposited = [Deposited(command.ext_id, balance=balance, last_command=command.command_id)]
    if isinstance(command, Refund):
        return Accepted(deposited, replies=False)
    if command.amount <= 0:
        return Rejected("not_positive", f"a deposit of {command.amount}")
    if balance > LIMIT:
        back = [Refund(command.sender, cause.id(1), command.amount)] if isinstance(command, Receive) else []
        return Rejected("over_limit", f"{balance} is above 1000", [Outgoing("trial.account.commands", r) for r in back])
    return deposited


def _pass_on(before: State | None, command: Transfer, cause: Cause) -> Accepted | Rejected:
    balance = 0 if before is None else before.balance
    if not 0 < command.amount <= balance or not command.to:
        return Rejected("not_covered", f"{command.amount} of {balance}")
    left = Withdrawn(command.ext_id, balance=balance - command.amount, last_command=command.command_id)
    command_id = command.command_id or cause.id(0)
    received = Outgoing("trial.account.commands", Receive(command.to, command_id, command.ext_id, command.amount))
    return Accepted([left], tell=[received], replies=False)


def react_to_account(before: State | None, after: State | None, event: Any, cause: Cause) -> list[Outgoing]:
    """Others are told what has left an account."""
    if not isinstance(event, Withdrawn):
        return []
    return [Outgoing("trial.out", ItemMoved(event.ext_id, cause.id(0), new=str(event.balance)))]


TRIAL = Domain(
    "trial",
    aggregates=(
        Aggregate("trial.item", react=react_to_item),
        Aggregate("trial.account", react=react_to_account, decide=decide_account),
    ),
    outboxes=("trial.out",),
)
