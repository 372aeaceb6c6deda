"""Jobs of a delivery, one for each command, and the totals of all jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
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
    """Totals since the start; `in_flight`, `stalled` and `parked` are current values."""

    completed: int = 0
    failed: int = 0
    """Refused for their data."""
    retried: int = 0
    """Tries after the first."""
    undecodable: int = 0
    """Records that are no commands: they are in the dead letters."""
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


class Interrupt:
    """Lets an order park a command while a job retries it."""

    def __init__(self) -> None:
        self.by: str | None = None
        """Person who gave the order; None: there is none."""
        self._scope: asyncio.Timeout | None = None

    def request(self, by: str) -> None:
        """End the attempts, also those that have not begun; a second order has no effect."""
        if self.by is None:
            self.by = by
            if self._scope is not None:
                self._scope.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def scope(self) -> AsyncIterator[None]:
        """Run the attempts. Raises TimeoutError once they are to end; the task must not run two scopes at a time."""
        if self.by is not None:
            raise TimeoutError
        try:
            async with asyncio.timeout(None) as self._scope:
                yield
        finally:
            self._scope = None


@dataclass(eq=False)
class Job:
    """A record of the command topic that is to be executed."""

    record: ConsumerRecord | Parked
    told: bool
    """An error receipt was already sent."""
    tell: Callable[[list[Write]], None]
    """Writes receipts without ending the job."""
    commit: Callable[[list[Write]], Awaitable[None]]
    """Writes receipts without ending the job, and waits until they are committed."""
    ledger: Ledger
    parking: Parking
    inherited: bool = False
    """The first of its key since the partition came to us: a former owner may have tried it, and no later one, as the
    commands of a key are executed one after the other.
    """
    tally: Tally = field(default_factory=Tally)
    """Counts of its partition."""
    uncertain: bool = False
    """The command may have been executed before."""
    stalled: bool = False
    """Every try of the policy has failed, and tries go on."""
    intent: Callable[[], Write] | None = None
    """Entry of the ledger to commit before each call, as the call may create something."""
    external_id: ExternalId | None = None
    """Id of its subject in the outside system, as the ledger or a person names it."""
    named: bool = False
    """A person has named the id of its subject in the outside system."""
    prompt: bool = False
    """A caller waits for the receipt."""
    interrupt: Interrupt = field(default_factory=Interrupt)
    """Shared by all commands that an order tries again."""
    cause: ConsumerRecord | None = None
    """Order to try a parked command again."""

    @property
    def is_edited(self) -> bool:
        """Returns whether a person has changed the command since it was parked."""
        return isinstance(self.record, Parked) and EDITED in dict(self.record.headers)

    @property
    def edits(self) -> str | None:
        """Returns the JSON of the changes, None without any; see `Parked.edits`."""
        return self.record.edits if isinstance(self.record, Parked) else None

    def receipt_id(self, n: int) -> str:
        """Returns the id of receipt ``n``: the same for a repeat, another for a parked command that is tried again."""
        if self.cause is None:
            return cause_id(self.record.topic, self.record.partition, self.record.offset, n)
        return cause_id(self.cause.topic, self.cause.partition, self.cause.offset, 2 * self.record.offset + n)

    def __str__(self) -> str:
        return f"{self.record.topic}-{self.record.partition}@{self.record.offset}"
