"""The attempts at one command: until it is done, refused, denied alone, has failed alone, or a person parks it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from loguru import logger

from schemas.errors import (
    BrokenSetup,
    DeliveryDenied,
    DeliveryError,
    DeliveryFailed,
    DeliveryRefused,
    OutcomeUnknown,
    shorten,
)
from streams.delivery.job import DeliveryStats, Job
from streams.delivery.parking import Parked, ParkedByOrder
from streams.denials import Doubt, alone
from streams.kafka.dead_letters import REASON
from streams.ports import Outcome, Sent, Sink
from streams.resilience import CircuitBreaker, Sleep, is_limit, retry_wait


@dataclass(frozen=True)
class RetryPolicy:
    """Policy by which all commands of a process are attempted at one outside system."""

    sink: Sink
    circuit: CircuitBreaker
    waits: Sequence[float]
    """Seconds before each try (docs/contracts/core-users.md#retries)."""
    allowed: Callable[[], None]
    """Raises Suspended if this process may no longer call the outside system."""
    sleep: Sleep
    stats: DeliveryStats


class Attempts:
    """The attempts at one command."""

    def __init__(self, policy: RetryPolicy, job: Job, command: Any, report: Callable[[Outcome], None]) -> None:
        """``report`` sends an error receipt while the attempts go on."""
        self._policy, self._job, self._command, self._report_error = policy, job, command, report
        self._failed = 0
        self._error: DeliveryError | None = None
        """Error of the last attempt."""

    async def until_settled(self) -> Outcome:
        """Attempt the command until its outcome is final. Returns the outcome.

        An order to park it ends a wait at once. A call under way comes to its end first, and if it succeeds, the
        order has come too late.
        """
        job = self._job
        try:
            async with job.interrupt.scope():
                return await self._until_final()
        except TimeoutError:
            if (by := job.interrupt.by) is None:
                raise
            return Outcome(self._failed, error=ParkedByOrder(by, self._failed, self._error))
        finally:
            self._policy.stats.stalled -= job.stalled
            job.stalled = False

    async def _until_final(self) -> Outcome:
        job, policy = self._job, self._policy
        alone_failed = 0
        before = isinstance(job.record, Parked) and job.record.errors[REASON] == DeliveryDenied.code
        doubt = Doubt(policy.circuit.denials, policy.sleep, before)
        await policy.sleep(policy.waits[0])
        while True:
            try:
                doubt.begin()
                return Outcome(self._failed + 1, await self._try())
            except DeliveryRefused as error:
                return Outcome(self._failed + 1, error=error)
            except DeliveryDenied as error:
                # No fault of the command, which was not tried: the circuit waits, or others show what it means.
                self._error = error
                if not error.for_all and await doubt.is_alone(policy.circuit.hold(error), partial(self._held, error)):
                    return Outcome(self._failed + 1, error=alone(error))
            except DeliveryFailed as error:
                alone_failed += 1
                self._count(error)
                if alone_failed >= len(policy.waits):
                    return Outcome(self._failed, error=error)
                policy.stats.retried += 1
                await policy.sleep(retry_wait(alone_failed, policy.waits))
            except DeliveryError as error:
                if is_limit(error):
                    continue  # no fault of the command either
                self._count(error)
                if self._failed >= len(policy.waits):
                    self._stall(error)
                policy.stats.retried += 1
                await policy.sleep(retry_wait(self._failed, policy.waits))

    def _count(self, error: DeliveryError) -> None:
        self._failed += 1
        self._error = error
        if self._failed <= len(self._policy.waits):
            logger.warning("{} not delivered, try {}: {}", self._job, self._failed, shorten(error.message, 200))

    def _held(self, error: DeliveryError, seconds: float) -> None:
        if seconds >= sum(self._policy.waits):  # by now it would have been tried in vain
            self._stall(error)

    def _stall(self, error: DeliveryError) -> None:
        """Send the error receipt after the last attempt of docs/contracts/core-users.md#retries, once; the attempts go
        on.
        """
        job = self._job
        if not job.stalled:
            job.stalled = True
            self._policy.stats.stalled += 1
            logger.warning("Job {} stalled: tried {} times, it goes on", job, self._failed)
        if not job.told:
            job.told = True
            self._report_error(Outcome(self._failed, error=error))

    async def _try(self) -> Sent:
        """Make one call. A cancellation lets a call under way come to its end, as it can't be taken back."""
        sent: Sent = await self._policy.circuit.call(self._call, self._held)
        return sent

    async def _call(self) -> Sent:
        job = self._job
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError  # cancelled while the call before this one, of the same order, was under way
        if job.intent is not None:
            await job.commit([job.intent()])
        self._policy.allowed()
        uncertain, job.uncertain = job.uncertain, True
        try:
            return await _finish(asyncio.ensure_future(self._guarded(uncertain)))
        except DeliveryError as error:
            job.uncertain = uncertain or not is_limit(error)  # a limit did nothing: no search for it
            raise

    async def _guarded(self, uncertain: bool) -> Sent:
        sink = self._policy.sink
        try:
            return await sink.deliver(self._command, self._job.external_id, self._failed + 1, uncertain)
        except (DeliveryError, BrokenSetup):
            raise
        except Exception as error:  # a defect of the sink: to drop the command would lose it, so it is tried again
            logger.opt(exception=error).error("{}: the sink failed", sink.name)
            raise OutcomeUnknown(f"{type(error).__name__} in the adapter") from None


async def _finish(call: asyncio.Future[Sent]) -> Sent:
    """Returns the result of a call. If cancelled, it waits for the call's end; if cancelled again, it abandons it."""
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
