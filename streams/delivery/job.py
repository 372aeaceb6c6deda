"""What a delivery works with: settings, the port to an outside system, the channel of its commands, and the job that
each of them is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import orjson
from aiokafka.structs import ConsumerRecord

from schemas.cloudevents import cause_id
from schemas.errors import DeliveryError, UndecodableRecord, shorten
from schemas.record import contract
from streams.delivery.ledger import Ledger
from streams.delivery.offset_tracker import Tally
from streams.delivery.parking import EDITED, Parked, Parking
from streams.delivery.state import Write

R = TypeVar("R", bound=tuple[Any, ...])
REASON_CHARACTERS: Final = 500


class DeliveryPort(Protocol):
    """An outside system, as the delivery sees it."""

    async def deliver(self, command: Any, attempt: int, uncertain: bool) -> Any:
        """Carry out a command. ``uncertain``: it may have been carried out before, so look first.

        Calls with the same key never overlap. Raises DeliveryError.
        """


class Outcome(NamedTuple):
    """What became of a command: ``delivered`` is the port's answer, or there is an error."""

    attempts: int
    delivered: Any = None
    error: DeliveryError | None = None
    edits: str | None = None
    """What a person changed before it was carried out, see `Parked.edits`."""

    @property
    def reason(self) -> str | None:
        """The error for a receipt: its code and a text, never a secret."""
        return None if self.error is None else f"{self.error.code}: {self.error.message}"[:REASON_CHARACTERS]


def told(receipt: R, prefix: str, command: Any, outcome: Outcome, *unset: str) -> R:
    """A receipt, with what was done instead of what was asked. What is ``unset``, and what it does not say of that,
    would stay as the receipt before it said: absent fields leave a state as it is."""
    edits, personal = orjson.loads(outcome.edits or "{}"), contract(type(command)).personal
    said = {
        f"{prefix}_edits": {name: pair for name, pair in edits.items() if name not in personal},
        f"{prefix}_edits_private": {name: pair for name, pair in edits.items() if name in personal},
    }
    texts = {name: orjson.dumps(pairs).decode() if pairs else None for name, pairs in said.items()}
    absent = (name for name, text in texts.items() if text is None)
    return receipt._replace(**texts, unset=(*unset, *absent))  # type: ignore[attr-defined, no-any-return]


class Errand(NamedTuple):
    """A command that was accepted."""

    command: Any
    id: str
    """Of the command."""
    subject: str
    """What the command is about, that the outside shall have once."""
    made: int | str | None
    """The outside's own id of it, where the command names it."""
    lasting: bool = True
    """False: no later command is about it, so the ledger forgets it once it is done. A comment is not changed again."""
    searched: bool = False
    """The outside tells it from all others where it stands, at little cost: no intent is written before the call. What
    a former owner may have tried is looked for, behind what the ledger knows to be the key's last."""


def check_reply(topic: str, receipt: type) -> None:
    """Raises UndecodableRecord for a topic that a command names and that no receipt of this kind may go to."""
    if topic and topic not in contract(receipt).topics:
        raise UndecodableRecord("unknown_reply_topic", f"no receipts go to {shorten(topic)}")


class Channel(Protocol):
    """What is special about the commands for one outside system."""

    @property
    def name(self) -> str: ...

    @property
    def topic(self) -> str:
        """Of the commands."""

    def accept(self, row: Any) -> Errand:
        """Raises UndecodableRecord if it is no command of ours."""

    def completed(self, command: Any, made: int | str) -> Any:
        """The command with the outside's id of its subject, which an earlier one made, or a person has named."""

    def made(self, delivered: Any) -> int | str:
        """The outside's id of the subject, from the port's answer."""

    def receipts(self, command: Any, outcome: Outcome) -> tuple[Sequence[str], Any]:
        """Topics, and the receipt for them."""


@dataclass
class DeliveryStats:
    """Totals since the start; what is `in_flight`, `stalled` or `parked` is of now."""

    completed: int = 0
    failed: int = 0
    """Refused for their data."""
    retried: int = 0
    """Tries after the first."""
    undecodable: int = 0
    """No commands at all: in the dead letters."""
    parked: int = 0
    """Refused commands and those behind them."""
    parked_keys: int = 0
    transactions: int = 0
    sessions: int = 0
    deleted: int = 0
    """Commands that were deleted from their topic before they were read, as offsets count them."""
    in_flight: int = 0
    stalled: int = 0
    """Commands that have failed as often as the policy says, and are still tried: none is dropped."""


@dataclass(eq=False)
class Job:
    """A record of the command topic that is to be carried out."""

    record: ConsumerRecord | Parked
    told: bool
    """Its error was already reported."""
    tell: Callable[[list[Write]], None]
    """Writes receipts without ending the job."""
    commit: Callable[[list[Write]], Awaitable[None]]
    """Likewise, and waits until they are written."""
    ledger: Ledger
    parking: Parking
    inherited: bool = False
    """The first of its key since the partition came to us: a former owner may have tried it, and no later one, as the
    commands of a key are carried out one after the other."""
    tally: Tally = field(default_factory=Tally)
    """Of its partition."""
    uncertain: bool = False
    """It may have been carried out before."""
    stalled: bool = False
    """Tried in vain for as long as the policy says, and still being tried."""
    intent: Callable[[], Write] | None = None
    """To be committed before each call, as that may make something."""
    named: bool = False
    """A person has named the outside's id of its subject."""
    cause: ConsumerRecord | None = None
    """Of a parked command: the order to try it again."""

    @property
    def is_edited(self) -> bool:
        """A person has changed the command since it was parked."""
        return isinstance(self.record, Parked) and EDITED in dict(self.record.headers)

    @property
    def edits(self) -> str | None:
        """What was changed."""
        return self.record.edits if isinstance(self.record, Parked) else None

    def receipt_id(self, n: int) -> str:
        """The same at every repeat, another for a parked command that is tried again."""
        if self.cause is None:
            return cause_id(self.record.topic, self.record.partition, self.record.offset, n)
        return cause_id(self.cause.topic, self.cause.partition, self.cause.offset, 2 * self.record.offset + n)

    def __str__(self) -> str:
        return f"{self.record.topic}-{self.record.partition}@{self.record.offset}"
