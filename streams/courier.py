"""Carries one command at a time to an outside system, and says what became of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from aiokafka.structs import ConsumerRecord
from loguru import logger

from schemas.cloudevents import cause_id, make_headers, read_headers
from schemas.errors import (
    DeliveryDenied,
    DeliveryError,
    DeliveryRefused,
    KounterError,
    OutcomeUnknown,
    RegistryUnavailable,
    UndecodableRecord,
    shorten,
)
from schemas.record import contract
from schemas.serde import Serde
from streams import deadletters
from streams.backoff import Circuit, Sleep, growing, is_limit, retry_wait
from streams.deadletters import dead_letter
from streams.writers import Entry

STAGE: Final = "deliver"
FINAL, TOLD = 0, 1
"""Numbers of the ids of a command's receipts: of its outcome, and of the error told while it is still tried."""


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


class Channel(Protocol):
    """What is special about the commands for one outside system."""

    @property
    def name(self) -> str: ...

    @property
    def topic(self) -> str:
        """Of the commands."""

    def complete(self, command: Any) -> Any:
        """The command with what is known from earlier receipts. Raises UndecodableRecord if it is none of ours."""

    def receipts(self, command: Any, outcome: Outcome) -> tuple[Sequence[str], Any]:
        """Topics, and the receipt for them."""


class Parking(Protocol):
    """What is done with a command that the outside refuses for its data."""

    def park(self, topic: str, record: ConsumerRecord, error: KounterError) -> list[tuple[str, Entry]]: ...


class DeadLetters:
    """Parks in the topic of dead letters; the next command of the key goes on."""

    def park(self, topic: str, record: ConsumerRecord, error: KounterError) -> list[tuple[str, Entry]]:
        return [(deadletters.TOPIC, dead_letter(topic, record, error, STAGE))]


@dataclass
class DeliveryStats:
    """Totals since the start, except for `in_flight` and `stalled`, which are of now."""

    completed: int = 0
    failed: int = 0
    """Refused for their data."""
    retried: int = 0
    """Tries after the first."""
    parked: int = 0
    """In the dead letters: refused, or no command at all."""
    transactions: int = 0
    sessions: int = 0
    in_flight: int = 0
    stalled: int = 0
    """Commands that have failed as often as the policy says, and are still tried: none is dropped."""


@dataclass(eq=False)
class Job:
    """A record of the command topic that is to be carried out."""

    record: ConsumerRecord
    uncertain: bool
    """A former owner of the partition may have tried it."""
    told: bool
    """Its error was already reported."""
    tell: Callable[[list[tuple[str, Entry]]], None]
    """Writes receipts without ending the job."""


class Courier:
    """All deliveries of a process to one outside system share it, its circuit and its limits."""

    def __init__(
        self,
        channel: Channel,
        port: DeliveryPort,
        serde: Serde,
        circuit: Circuit,
        *,
        waits: Sequence[float],
        parking: Parking | None = None,
        allowed: Callable[[], None] = lambda: None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """``waits``: seconds before each try of the policy. ``allowed`` raises if we may no longer call out."""
        self.channel, self._port, self._serde, self.circuit = channel, port, serde, circuit
        self._waits = waits
        self._parking = parking or DeadLetters()
        self._allowed, self._sleep = allowed, sleep
        self.stats = DeliveryStats()

    async def carry(self, job: Job) -> list[tuple[str, Entry]]:
        """Carry out a record's command, however long it takes. Returns what to write: it is done when that is."""
        record = job.record
        if record.value is None:
            return []  # a tombstone asks for nothing
        try:
            command = self.channel.complete(await self._decode(record.value))
        except UndecodableRecord as error:
            return self._park(record, error)
        outcome = await self._until_settled(job, command)
        writes = self._receipts(record, command, outcome, FINAL)
        if outcome.error is not None:
            self.stats.failed += 1
            return writes + self._park(record, outcome.error)
        self.stats.completed += 1
        return writes

    async def _decode(self, value: bytes) -> Any:
        for failed in range(1_000_000):
            try:
                return await self._serde.decode(self.channel.topic, value)
            except RegistryUnavailable as error:
                wait = growing(failed, 0.5, 15.0)
                logger.warning("{}: waiting {:.1f} s for the registry: {}", self.channel.name, wait, error.message)
                await self._sleep(wait)
        raise AssertionError("half a year of an absent registry")

    async def _until_settled(self, job: Job, command: Any) -> Outcome:
        """Try until it is delivered or refused."""
        failed = stalled = 0
        await self._sleep(self._waits[0])
        try:
            while True:
                try:
                    return Outcome(failed + 1, await self._try(job, command, failed + 1))
                except DeliveryRefused as error:
                    return Outcome(failed + 1, error=error)
                except DeliveryDenied:
                    continue  # no fault of the command, which was not tried: the circuit waits
                except DeliveryError as error:
                    if is_limit(error):
                        continue  # likewise
                    failed += 1
                    self._report(job, error, failed)
                    if failed >= len(self._waits):
                        self.stats.stalled += 1 - stalled
                        stalled = 1
                        self._tell(job, command, Outcome(failed, error=error))
                    self.stats.retried += 1
                    await self._sleep(retry_wait(failed, self._waits))
        finally:
            self.stats.stalled -= stalled

    async def _try(self, job: Job, command: Any, attempt: int) -> Any:
        """One call. A cancellation lets a call that is under way come to its end, as it can't be taken back."""

        async def call() -> Any:
            self._allowed()
            uncertain, job.uncertain = job.uncertain, True
            try:
                return await _finish(asyncio.ensure_future(self._guarded(command, attempt, uncertain)))
            except DeliveryError as error:
                job.uncertain = uncertain or not is_limit(error)  # a limit did nothing: no search for it
                raise

        return await self.circuit.call(call)

    async def _guarded(self, command: Any, attempt: int, uncertain: bool) -> Any:
        try:
            return await self._port.deliver(command, attempt, uncertain)
        except DeliveryError:
            raise
        except Exception as error:  # a defect of the port: to drop the command would lose it, so it is tried again
            logger.opt(exception=error).error("{}: the port failed", self.channel.name)
            raise OutcomeUnknown(f"{type(error).__name__} in the adapter") from None

    def _report(self, job: Job, error: DeliveryError, failed: int) -> None:
        if failed <= len(self._waits):
            place = f"{job.record.topic}-{job.record.partition}@{job.record.offset}"
            logger.warning("{} not delivered, try {}: {}", place, failed, shorten(error.message, 200))

    def _tell(self, job: Job, command: Any, outcome: Outcome) -> None:
        """The seed's error reply after its last attempt, once; ours goes on trying."""
        if not job.told:
            job.told = True
            job.tell(self._receipts(job.record, command, outcome, TOLD))

    def _park(self, record: ConsumerRecord, error: KounterError) -> list[tuple[str, Entry]]:
        self.stats.parked += 1
        place = f"{record.topic}-{record.partition}@{record.offset}"
        logger.error("{} parked: {}", place, shorten(error.message, 200))
        return self._parking.park(self.channel.topic, record, error)

    def _receipts(self, record: ConsumerRecord, command: Any, outcome: Outcome, n: int) -> list[tuple[str, Entry]]:
        topics, row = self.channel.receipts(command, outcome)
        of = contract(type(row))
        key = row[of.fields.index(of.key)]
        cause = record.topic, record.partition, record.offset
        said = read_headers(
            record.headers, timestamp_ms=record.timestamp, topic=cause[0], partition=cause[1], offset=cause[2]
        )
        headers = make_headers(
            id=cause_id(*cause, n),
            source=f"kounter/delivery-{self.channel.name}",
            type=of.full_name,
            time_micros=time.time_ns() // 1_000,
            subject=key,
            traceparent=said.traceparent,
        )
        return [(topic, Entry(key.encode(), self._serde.encode(topic, row), headers)) for topic in topics]


async def _finish(call: asyncio.Future[Any]) -> Any:
    """The result of a call. If cancelled, wait for its end nevertheless; if cancelled again, leave it."""
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        if call.cancelled():
            raise
    waiter: Awaitable[Any] = asyncio.wait({call})
    try:
        await waiter
    except asyncio.CancelledError:
        call.cancel()
        raise
    if call.exception() is not None:
        raise asyncio.CancelledError
    return call.result()
