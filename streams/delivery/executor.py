"""Executes commands at an outside system, and says what became of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from loguru import logger

from schemas.cloudevents import make_headers, read_headers
from schemas.codec.serde import Serde
from schemas.errors import (
    BrokenSetup,
    DeliveryDenied,
    DeliveryError,
    DeliveryFailed,
    DeliveryRefused,
    InvalidInput,
    KounterError,
    OutcomeUnknown,
    RegistryUnavailable,
    UndecodableRecord,
    shorten,
)
from schemas.parking import ParkedAction, ParkedOrder, differences, edited
from schemas.record import contract
from streams.delivery.job import DeliveryStats, Job
from streams.delivery.parking import STAGE, Parked, ParkedBehind, is_name
from streams.delivery.state import Write
from streams.denials import Doubt, alone
from streams.kafka import dead_letters
from streams.kafka.dead_letters import REASON, dead_letter
from streams.kafka.transactions import ProducerRecord
from streams.ports import AcceptedCommand, Outcome, Sent, Sink
from streams.resilience import CircuitBreaker, Held, Sleep, backoff, is_limit, retry_wait

FINAL, TOLD = 0, 1
"""Numbers of the ids of a command's receipts: of its outcome, and of the error told while it is still tried."""


class CommandExecutor:
    """All deliveries of a process to one outside system share it, its circuit and its limits."""

    def __init__(
        self,
        sink: Sink,
        serde: Serde,
        circuit: CircuitBreaker,
        *,
        waits: Sequence[float],
        settles_s: float = 0.0,
        allowed: Callable[[], None] = lambda: None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """``waits``: seconds before each try of the policy. ``settles_s``: after which a call, given up or not, has
        surely ended: a search that comes sooner may miss what it still makes. ``allowed`` raises if we may no longer
        call out."""
        self.sink, self._serde, self.circuit = sink, serde, circuit
        self._waits, self._settles_s = waits, settles_s
        self._allowed, self._sleep = allowed, sleep
        self.stats = DeliveryStats()

    async def execute(self, job: Job) -> list[Write]:
        """Execute a record's command, however long it takes. Returns what to write: it is done when that is."""
        record, parking = job.record, job.parking
        if record.value is None:
            return []  # a tombstone asks for nothing
        try:
            if (size := dead_letters.weight(record)) > dead_letters.MOST_BYTES:  # it could not be parked
                raise UndecodableRecord("too_large", f"a command of {size} bytes")
            row = await self._decode(record.value)
            if isinstance(row, ParkedOrder):
                return await self._apply_order(job, row)
            accepted = self.sink.accept(row)
            job.prompt = accepted.prompt
        except UndecodableRecord as error:
            return self._dead_letter(job, error)
        if record.key in parking:
            return [parking.park(record, ParkedBehind("an earlier command of the key was refused"))]
        writes, refused = await self._attempt_until_final(job, row, accepted)
        if refused is None:
            return writes
        if not is_name(record.key):  # no key, no order to keep, and no name to call it by
            return writes + self._dead_letter(job, refused)
        logger.error("{} parked: {}", job, shorten(refused.message, 200))
        return [*writes, parking.park(record, refused)]

    async def _apply_order(self, job: Job, order: ParkedOrder) -> list[Write]:
        """Do what a person says about the parked commands of the key."""
        if order.action not in tuple(ParkedAction) or (order.edit is not None and not order.offsets):
            raise UndecodableRecord(
                "bad_order", "an order about parked commands without a known action, or an edit of none"
            )
        key, after = job.record.key or b"", -1
        writes: list[Write] = []
        while (parked := job.parking.next(key, after)) is not None:
            after = parked.offset
            meant = not order.offsets or after in order.offsets
            if order.action == ParkedAction.DROP:
                writes += [job.parking.release(parked)] if meant else []
                continue
            if not meant and parked.errors[REASON] != ParkedBehind.code:
                break
            writes, refused = await self._retry(job, parked, order)
            if refused:
                return writes
            await job.commit(writes)
            writes = []
        logger.info("{}: {} of parked commands done, for {}", job, order.action, order.by)
        return writes

    async def _retry(self, job: Job, parked: Parked, order: ParkedOrder) -> tuple[list[Write], bool]:
        """What to write, and whether it stays parked."""
        parking = job.parking
        named = False
        try:
            row = await self._decode(parked.value)
            accepted = self.sink.accept(row)
            if order.edit is not None and parked.offset == order.offsets[0]:
                asked, row = row, edited(row, order.edit)
                parked = parked.edited(self._serde.encode(self.sink.topic, row), differences(asked, row))
                before, accepted = accepted.external_id, self.sink.accept(row)
                named = accepted.external_id not in (None, before)
        except (UndecodableRecord, InvalidInput) as error:
            return [parking.keep(parked, error)], True
        again = replace(job, record=parked, cause=job.record, told=False, named=named)
        writes, refused = await self._attempt_until_final(again, row, accepted)
        if refused is None:
            return [*writes, parking.release(parked)], False
        logger.error("{} stays parked: {}", again, shorten(refused.message, 200))
        return [*writes, parking.keep(parked, refused)], True

    async def _attempt_until_final(
        self, job: Job, command: Any, accepted: AcceptedCommand
    ) -> tuple[list[Write], DeliveryError | None]:
        """Try until it is delivered or refused. Returns the receipts, with what the ledger must know, and the refusal.

        Only of what is in neither command nor ledger may a call make something: so its intent is written before. That
        of a process that died says when its last call began: it may still be under way. What is
        `self_deduplicating` needs neither: until a dead member's session has run out, its calls have ended.
        """
        made = job.ledger.get(accepted.idempotency_key)
        known = None if made is None else made.id  # newer than what a command says that has waited
        if known is None or (accepted.external_id is not None and job.is_edited):
            known = accepted.external_id
        if accepted.self_deduplicating:
            job.uncertain |= job.inherited
        if known is None and not accepted.self_deduplicating:
            job.intent = partial(job.ledger.entry, accepted.idempotency_key, accepted.command_id, job.record.offset)
            if made is not None:
                job.uncertain = True
                # An intent of the future is of a clock that was set back: its call has ended as soon as any call has.
                left = made.at / 1e6 + self._settles_s - time.time()
                await self._sleep(min(max(0.0, left), self._settles_s))
        elif known is not None and (job.named or (made is not None and known == made.id)):
            job.external_id = known  # else the sink looks whose it is
        outcome = await self._until_settled(job, command)
        writes = self._receipts(job, command, outcome, FINAL)
        if outcome.sent is None:
            self.stats.failed += 1
            job.tally.failed += 1
            logger.debug("Job {} failed: {}", job, shorten(outcome.reason or "", 200))
            return writes, outcome.error
        self.stats.completed += 1
        job.tally.completed += 1
        logger.debug("Job {} completed after {} attempt(s)", job, outcome.attempts)
        if not accepted.remember:
            writes.append(job.ledger.forgotten(accepted.idempotency_key))
        elif made is None or made.id != outcome.sent.external_id:
            id, offset = outcome.sent.external_id, job.record.offset
            writes.append(job.ledger.entry(accepted.idempotency_key, accepted.command_id, offset, id))
        return writes, None

    async def _decode(self, value: bytes) -> Any:
        failed = 0
        while True:
            try:
                return await self._serde.decode(self.sink.topic, value)
            except RegistryUnavailable as error:
                wait = backoff(failed, 0.5, 15.0)
                failed += 1
                logger.warning("{}: waiting {:.1f} s for the registry: {}", self.sink.name, wait, error.message)
                await self._sleep(wait)

    async def _until_settled(self, job: Job, command: Any) -> Outcome:
        """Try until it is delivered, refused, or denied alone, or has failed alone as often as the policy says."""
        failed = alone_failed = 0
        before = isinstance(job.record, Parked) and job.record.errors[REASON] == DeliveryDenied.code
        doubt = Doubt(self.circuit.denials, self._sleep, before)

        def held(error: DeliveryError, seconds: float) -> None:
            if seconds >= sum(self._waits):  # by now it would have been tried in vain
                self._stall(job, command, Outcome(failed, error=error))

        await self._sleep(self._waits[0])
        try:
            while True:
                try:
                    doubt.begin()
                    return Outcome(failed + 1, await self._try(job, command, failed + 1, held))
                except DeliveryRefused as error:
                    return Outcome(failed + 1, error=error)
                except DeliveryDenied as error:
                    # No fault of the command, which was not tried: the circuit waits, or others show what it means.
                    if not error.for_all and await doubt.is_alone(self.circuit.hold(error), partial(held, error)):
                        return Outcome(failed + 1, error=alone(error))
                except DeliveryFailed as error:
                    failed, alone_failed = failed + 1, alone_failed + 1
                    self._report(job, error, failed)
                    if alone_failed >= len(self._waits):
                        return Outcome(failed, error=error)
                    self.stats.retried += 1
                    await self._sleep(retry_wait(alone_failed, self._waits))
                except DeliveryError as error:
                    if is_limit(error):
                        continue  # likewise
                    failed += 1
                    self._report(job, error, failed)
                    if failed >= len(self._waits):
                        self._stall(job, command, Outcome(failed, error=error))
                    self.stats.retried += 1
                    await self._sleep(retry_wait(failed, self._waits))
        finally:
            self.stats.stalled -= job.stalled

    def _stall(self, job: Job, command: Any, outcome: Outcome) -> None:
        """The error reply after the last attempt of docs/contracts/core-users.md#retries, once; ours goes on trying."""
        if not job.stalled:
            job.stalled = True
            self.stats.stalled += 1
            logger.warning("Job {} stalled: tried {} times, it goes on", job, outcome.attempts)
        if not job.told:
            job.told = True
            job.tell(self._receipts(job, command, outcome, TOLD))

    async def _try(self, job: Job, command: Any, attempt: int, held: Held) -> Sent:
        """One call. A cancellation lets a call that is under way come to its end, as it can't be taken back."""

        async def call() -> Sent:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise asyncio.CancelledError  # told while the call before this one, of the same order, was under way
            if job.intent is not None:
                await job.commit([job.intent()])
            self._allowed()
            uncertain, job.uncertain = job.uncertain, True
            try:
                return await _finish(asyncio.ensure_future(self._guarded(job, command, attempt, uncertain)))
            except DeliveryError as error:
                job.uncertain = uncertain or not is_limit(error)  # a limit did nothing: no search for it
                raise

        sent: Sent = await self.circuit.call(call, held)
        return sent

    async def _guarded(self, job: Job, command: Any, attempt: int, uncertain: bool) -> Sent:
        try:
            return await self.sink.deliver(command, job.external_id, attempt, uncertain)
        except (DeliveryError, BrokenSetup):
            raise
        except Exception as error:  # a defect of the sink: to drop the command would lose it, so it is tried again
            logger.opt(exception=error).error("{}: the sink failed", self.sink.name)
            raise OutcomeUnknown(f"{type(error).__name__} in the adapter") from None

    def _report(self, job: Job, error: DeliveryError, failed: int) -> None:
        if failed <= len(self._waits):
            logger.warning("{} not delivered, try {}: {}", job, failed, shorten(error.message, 200))

    def _dead_letter(self, job: Job, error: KounterError) -> list[Write]:
        self.stats.undecodable += 1
        job.tally.undecodable += 1
        logger.error("{} goes to the dead letters: {}", job, shorten(error.message, 200))
        return [(dead_letters.TOPIC, dead_letter(self.sink.topic, job.record, error, STAGE))]

    def _receipts(self, job: Job, command: Any, outcome: Outcome, n: int) -> list[Write]:
        record = job.record
        topics, row = self.sink.receipts(command, outcome._replace(edits=job.edits))
        of = contract(type(row))
        key = row[of.fields.index(of.key)]
        topic, partition, offset = record.topic, record.partition, record.offset
        said = read_headers(
            record.headers, timestamp_ms=record.timestamp, topic=topic, partition=partition, offset=offset
        )
        headers = make_headers(
            id=job.receipt_id(n),
            source=f"kounter/delivery-{self.sink.name}",
            type=of.full_name,
            time_micros=time.time_ns() // 1_000,
            subject=key,
            traceparent=said.traceparent,
        )
        return [(topic, ProducerRecord(key.encode(), self._serde.encode(topic, row), headers)) for topic in topics]


async def _finish(call: asyncio.Future[Sent]) -> Sent:
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
