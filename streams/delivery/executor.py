"""Execution of commands at an outside system: decides what is written for each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from loguru import logger

from schemas.cloudevents import make_headers, read_headers
from schemas.codec.serde import Serde
from schemas.errors import (
    DeliveryError,
    DeliveryFailed,
    InvalidInput,
    KounterError,
    RegistryUnavailable,
    UndecodableRecord,
    shorten,
)
from schemas.parking import ParkedAction, ParkedOrder, differences, edited
from schemas.record import contract
from streams.delivery.attempts import Attempts, RetryPolicy
from streams.delivery.job import DeliveryStats, Job
from streams.delivery.parking import STAGE, Parked, ParkedBehind, ParkedByOrder, is_name
from streams.delivery.state import Write
from streams.kafka import dead_letters
from streams.kafka.dead_letters import REASON, dead_letter
from streams.kafka.transactions import ProducerRecord
from streams.ports import AcceptedCommand, Outcome, Sink
from streams.resilience import CircuitBreaker, Sleep, backoff

MAY_BE_DONE: Final = frozenset((ParkedByOrder.code, DeliveryFailed.code))
"""Reasons for which a command is parked whose last call may have been carried out: it is searched for first."""
FINAL, TOLD = 0, 1
"""Numbers in the ids of a command's receipts: that of its outcome, and that of the error while it is still tried."""


class CommandExecutor:
    """Executes the commands of all partitions of a process, which share its circuit and its limits."""

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
        """``waits`` are the seconds before each try of the policy. ``settles_s`` is the number of seconds after which
        a call, given up or not, has surely ended: an earlier search may miss what the call still creates. ``allowed``
        raises Suspended if we may no longer make calls.
        """
        self.sink, self._serde, self.circuit = sink, serde, circuit
        self._settles_s, self._sleep = settles_s, sleep
        self.stats = DeliveryStats()
        self._policy = RetryPolicy(sink, circuit, waits, allowed, sleep, self.stats)

    async def execute(self, job: Job) -> list[Write]:
        """Execute a record's command, however long it takes. Returns the records to write, which end the command.

        Raises Suspended and BrokenSetup.
        """
        record, parking = job.record, job.parking
        if record.value is None:
            return []  # a tombstone asks for nothing
        try:
            if (size := dead_letters.weight(record)) > dead_letters.MOST_BYTES:  # it could not be parked
                raise UndecodableRecord("too_large", f"a command of {size} bytes")
            row = await self.decode(record.value)
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
        """Apply a person's order to the parked commands of the key."""
        _check(order)
        key, after = job.record.key or b"", -1
        writes: list[Write] = []
        if order.action == ParkedAction.PARK:
            return writes  # `streams.delivery.order_watch` has applied it, or its command is done
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
        """Try a parked command again. Returns the records to write, and whether it stays parked."""
        parking = job.parking
        named = False
        try:
            row = await self.decode(parked.value)
            accepted = self.sink.accept(row)
            if order.edit is not None and parked.offset == order.offsets[0]:
                asked, row = row, edited(row, order.edit)
                parked = parked.edited(self._serde.encode(self.sink.topic, row), differences(asked, row))
                before, accepted = accepted.external_id, self.sink.accept(row)
                named = accepted.external_id not in (None, before)
        except (UndecodableRecord, InvalidInput) as error:
            return [parking.keep(parked, error)], True
        uncertain = parked.errors[REASON] in MAY_BE_DONE
        again = replace(job, record=parked, cause=job.record, told=False, named=named, uncertain=uncertain)
        writes, refused = await self._attempt_until_final(again, row, accepted)
        if refused is None:
            return [*writes, parking.release(parked)], False
        logger.error("{} stays parked: {}", again, shorten(refused.message, 200))
        return [*writes, parking.keep(parked, refused)], True

    async def _attempt_until_final(
        self, job: Job, command: Any, accepted: AcceptedCommand
    ) -> tuple[list[Write], DeliveryError | None]:
        """Try until it is delivered or refused. Returns the receipts and entries of the ledger, and the refusal.

        A call can only create a subject that neither the command nor the ledger names: so its intent is written
        before. The intent of a process that died has the time at which its last call began, which may still be under
        way. A command that is `self_deduplicating` needs neither: when a dead member's session has timed out, its
        calls have ended.
        """
        made = job.ledger.get(accepted.idempotency_key)
        known = None if made is None else made.id  # newer than the id in a command that has waited
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
            job.external_id = known  # else the sink looks up whose it is

        def report(outcome: Outcome) -> None:
            job.tell(self._receipts(job, command, outcome, TOLD))

        outcome = await Attempts(self._policy, job, command, report).until_settled()
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

    async def decode(self, value: bytes) -> Any:
        """Returns the row of a command's value; waits while the registry is down. Raises UndecodableRecord."""
        failed = 0
        while True:
            try:
                return await self._serde.decode(self.sink.topic, value)
            except RegistryUnavailable as error:
                wait = backoff(failed, 0.5, 15.0)
                failed += 1
                logger.warning("{}: waiting {:.1f} s for the registry: {}", self.sink.name, wait, error.message)
                await self._sleep(wait)

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


def _check(order: ParkedOrder) -> None:
    """Raise UndecodableRecord for an order that has no meaning."""
    if order.action not in tuple(ParkedAction):
        raise UndecodableRecord("bad_order", "an order about parked commands without a known action")
    if not order.offsets and (order.edit is not None or order.action == ParkedAction.PARK):
        raise UndecodableRecord("bad_order", "an order to park or to edit that names no offset of a command")
