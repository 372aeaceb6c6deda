"""What a delivery works on: the job that each command is, and the totals of all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiokafka.structs import ConsumerRecord

from schemas.cloudevents import cause_id
from streams.delivery.ledger import Ledger
from streams.delivery.offset_tracker import Tally
from streams.delivery.parking import EDITED, Parked, Parking
from streams.delivery.state import Write
from streams.ports import ExternalId


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
    external_id: ExternalId | None = None
    """The outside's id of its subject, as the ledger or a person names it."""
    named: bool = False
    """A person has named the outside's id of its subject."""
    prompt: bool = False
    """Somebody waits for its receipt."""
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
