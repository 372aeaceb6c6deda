"""What is fed to the workers: a seeded, endless mix over two domains, with duplicates, stale and broken records, things
that are deleted and come back, and receipts and portal changes of things that are known, deleted, or never were."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from adapters.brusnika.twin.changes import changes
from schemas.bitrix24 import CardAction, CardChanged, CardOutcome, CardReceipt
from schemas.record import contract
from tests.support.trial import Deposit, Item, Transfer

BROKEN: Final = (b"no avro", b"\0\x7f\xff\xff\xffbody", b"\0\0\0", b"")


class Step(NamedTuple):
    """A record to produce: a row, or raw bytes (None: a tombstone)."""

    topic: str
    key: str
    row: Any = None
    raw: bytes | None = None


def steps(seed: int, n: int) -> Iterator[Step]:
    """The first ``n``: two of three are of the estate domain, the others of the trial domain."""
    dice = random.Random(seed)
    estate = (change.row for change in changes(seed, faults=0.1) if change.row is not None)
    leads = ["lead-never-seen"]
    numbers: dict[str, int] = {}
    for i in range(n):
        roll = dice.random()
        if roll < 0.60:
            row = next(estate)
            of = contract(type(row))
            key = row[of.fields.index(of.key)]
            if of.topics[0] == "estate.lead":
                leads.append(key)
            yield Step(of.topics[0], key, row)
        elif roll < 0.65:
            yield _about(dice, dice.choice(leads), i)
        elif roll < 0.85:
            yield _item(dice, numbers)
        elif roll < 0.97:
            yield _account(dice, i)
        elif roll < 0.985:
            yield Step("trial.item", f"item-{dice.randrange(300)}", raw=dice.choice(BROKEN))
        else:
            yield Step("trial.item", f"item-{dice.randrange(300)}", raw=None)


def _about(dice: random.Random, lead: str, n: int) -> Step:
    """A lead is deleted, or something is reported about it, deleted or not."""
    receipt = CardReceipt(lead, f"c{n}", CardAction.UPDATE_CARD, CardOutcome.SUCCESS, dice.randrange(1, 1_000))
    row = dice.choice([None, receipt, CardChanged(lead, 1, dice.choice(["NEW", "JUNK"]))])
    return Step("estate.lead", lead, row)


def _account(dice: random.Random, n: int) -> Step:
    """A deposit, or a transfer: covered or not, to an account that can take it or not, or to itself."""
    key, amount = f"account-{dice.randrange(200)}", dice.choice([1, 5, 300, -1])
    if dice.random() < 0.3:
        return Step("trial.account.commands", key, Transfer(key, f"c{n}", f"account-{dice.randrange(200)}", amount))
    return Step("trial.account.commands", key, Deposit(key, f"c{n}", amount))


def _item(dice: random.Random, numbers: dict[str, int]) -> Step:
    key = f"item-{dice.randrange(300)}"
    if dice.random() < 0.1 and key in numbers:
        number = dice.randint(1, numbers[key])  # a duplicate, or an older one
    else:
        number = numbers[key] = numbers.get(key, 0) + dice.randint(1, 3)
    return Step("trial.item", key, Item(key, number, dice.choice(["new", "shown", "sold", None])))
