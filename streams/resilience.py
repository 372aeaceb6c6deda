"""Retries: backoff, a circuit breaker, an adaptive limit of parallel calls, and a watchdog that notices a stall."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Literal, TypeVar

from loguru import logger

from schemas.errors import DeliveryDenied, DeliveryError, KounterError
from streams.denials import Denials

T = TypeVar("T")
Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]
Held = Callable[[DeliveryError, float], None]
"""Callback with the reason why the circuit is open, and the seconds for which it has kept the call waiting."""
State = Literal["closed", "limited", "open", "half-open"]

MOST_WAIT_S: Final = 60.0
MOST_RETRY_AFTER_S: Final = 900.0
"""Longest ``Retry-After`` in seconds that is obeyed: Bitrix24's limit of method time clears within 10 minutes; a
system that asks for longer is called again after this.
"""
DENIED_S: Final = 60.0
LONG_LIMIT_S: Final = 10.0
"""Seconds of a limit that the log names: it looks like a stall, and may last ten minutes."""


def backoff(attempt: int, first: float, most: float = MOST_WAIT_S) -> float:
    """Returns the seconds before a try: doubling from ``first`` (attempt 0) to ``most``, half of it random so that
    many spread.
    """
    return min(most, first * 2.0 ** min(attempt, 30)) * random.uniform(0.5, 1.0)


def retry_wait(failed: int, waits: Sequence[float]) -> float:
    """Returns the seconds between failed try ``failed`` (from 1) and the next: from ``waits``, then from `backoff`."""
    beyond = failed - len(waits)
    return waits[failed] if beyond < 0 else backoff(beyond, 2 * max(waits[-1], 0.5))


class AdaptiveLimit:
    """Limit of parallel entries: up to ``most``, half as many after each `narrow`, slowly more by `widen`.

    Parallel calls share out a tight limit so that none of them gets all the calls that it needs.
    """

    def __init__(self, most: int) -> None:
        self._most, self.now = most, float(most)
        self._inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        while self._inside >= int(self.now):
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._admit()  # its turn is another's now
                raise
        self._inside += 1
        self._admit()

    async def __aexit__(self, *error: object) -> None:
        self._inside -= 1
        self._admit()

    def narrow(self) -> None:
        self.now = max(1.0, self.now / 2)

    def widen(self) -> None:
        self.now = min(float(self._most), self.now + 1 / self.now)

    def _admit(self) -> None:
        while self._waiting and self._inside < int(self.now):
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return


def is_limit(error: DeliveryError) -> bool:
    """Returns whether the other side is there, did nothing, and says when it may be asked again."""
    return error.kind == "unavailable" and error.retry_after is not None


class CircuitBreaker:
    """Circuit breaker of one outside system. Closed: all calls go through, ``parallel`` at a time. After ``threshold``
    failures in a row it opens: no call goes through, until one probe at a time may try; the first success closes it,
    each failure makes the wait longer.

    Refused data is a success here, and so is one command that fails alone: the system is there and answers. A limit
    with a time (``retry_after``) holds all calls until then, and lets fewer through at once, as limits are the
    portal's and not the record's. A denial opens it if it is one for all: the system says so, or `Denials` are so
    many in a row.
    """

    def __init__(
        self,
        name: str,
        threshold: int,
        first_s: float,
        parallel: int,
        *,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._name, self._threshold, self._first = name, threshold, first_s
        self.limit = AdaptiveLimit(parallel)
        self.denials = Denials()
        self._clock, self._sleep = clock, sleep
        self._failures = 0
        """Failures in a row."""
        self._opened = 0
        """Number of openings in a row; 0 is closed."""
        self._until = 0.0
        self._cause: DeliveryError | None = None
        """Error that opened the circuit."""
        self._probe: asyncio.Event | None = None
        """Event that is set when the probe under way ends."""

    @property
    def state(self) -> State:
        waits = self._clock() < self._until
        if not self._opened:
            return "limited" if waits else "closed"
        return "open" if waits else "half-open"

    async def call(self, work: Callable[[], Awaitable[T]], held: Held | None = None) -> T:
        """Wait until a call is allowed, then make it. Raises what ``work`` raises.

        ``held`` is called whenever a probe has failed, while this call waits because the circuit is open.
        """
        async with self.limit:
            return await self._call(work, held)

    async def _call(self, work: Callable[[], Awaitable[T]], held: Held | None) -> T:
        probe = await self._enter(held)
        begun = self.denials.count
        try:
            result = await work()
        except DeliveryError as error:
            if error.kind not in ("refused", "failed"):
                self._failed(error, probe is not None)
            elif not (self._opened and isinstance(self._cause, DeliveryDenied)):  # refused before any call is made?
                self._succeeded()
            raise
        else:
            self.denials.answered(begun)
            self._succeeded()
            return result
        finally:
            if probe is not None:
                self._probe = None
                probe.set()

    async def _enter(self, held: Held | None) -> asyncio.Event | None:
        """Returns the event of the probe, if this call is one."""
        begun = self._clock()
        while True:
            if held is not None and self._opened and self._cause is not None:
                held(self._cause, self._clock() - begun)
            if (wait := self._until - self._clock()) > 0:
                await self._sleep(wait)
            elif not self._opened:
                return None
            elif self._probe is None:
                self._probe = asyncio.Event()
                return self._probe
            else:
                await self._probe.wait()

    def _succeeded(self) -> None:
        if self._opened:
            logger.info("{} answers again, deliveries go on", self._name)
            self._until, self._cause = 0.0, None
        self._failures = self._opened = 0
        self.limit.widen()

    def _failed(self, error: DeliveryError, is_probe: bool) -> None:
        now = self._clock()
        if isinstance(error, DeliveryDenied):
            if error.for_all:
                self._deny(error, DENIED_S)
            elif is_probe and isinstance(self._cause, DeliveryDenied):
                self._deny(error, backoff(self._opened, self._first))
            elif is_probe:
                self._succeeded()  # it was down, and is there again
            return
        if is_limit(error):
            if now >= self._until:  # of many that ran into it together only the first says something new
                self.limit.narrow()
                logger.debug("{} limits us: {} calls at a time", self._name, int(self.limit.now))
            wait = min(error.retry_after or 0.0, MOST_RETRY_AFTER_S)
            if wait >= LONG_LIMIT_S and now + wait > self._until + LONG_LIMIT_S:
                logger.warning("{} limits us, no call for {:.0f} s: {}", self._name, wait, error.message)
            self._until = max(self._until, now + wait)
            self._opened = 0
            return
        self._failures += 1
        if is_probe or (not self._opened and self._failures >= self._threshold):
            wait = backoff(self._opened, self._first)
            self._opened, self._until, self._cause = self._opened + 1, now + wait, error
            logger.warning("{} is down, the next try in {:.1f} s: {}", self._name, wait, error.message)

    def hold(self, error: DeliveryDenied) -> int:
        """Hold a denied command, where nothing says that all are denied. Returns the number by which `denials` know it.
        They may be so many now that it is a denial of all: then one other at a time tries, soon, as it is not sure.
        """
        number = self.denials.add()
        if self.denials.are_all and not self._opened:
            self._deny(error, backoff(0, self._first))
        return number

    def _deny(self, error: DeliveryDenied, wait: float) -> None:
        logger.critical("{} denies us, nothing is delivered: {} {}", self._name, error.message, error.hint)
        self._opened, self._until, self._cause = self._opened + 1, self._clock() + wait, error


class Suspended(KounterError):
    """The process did not run, or had no contact with its group, for so long that others may have its partitions."""

    code = "suspended"
    hint = "Nothing to do: it joins its group again. If it repeats, the machine is overloaded or cut off from Kafka."


class Watchdog:
    """Notices that there was no beat for too long: another process may own the partitions by now."""

    def __init__(self, most_s: float, what: str = "the process stood still", *, clock: Clock = time.monotonic) -> None:
        self._most, self._what, self._clock = most_s, what, clock
        self._last = clock()

    def beat(self) -> None:
        """Note a beat; call it often. Raises Suspended if the last beat is too long ago; so does `check`."""
        self.check()
        self._last = self._clock()

    def check(self) -> None:
        """Raise Suspended if the last beat is too long ago; call it before anything that only the owner may do."""
        if (gap := self._clock() - self._last) > self._most:
            raise Suspended(f"{self._what} for {gap:.1f} s")


async def together(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run until all end, or one fails: the others are cancelled, and its error is raised as it is. The exit code
    follows the error's class, and a group of errors has no exit code.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            for coroutine in coroutines:
                tasks.create_task(coroutine)
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


def end_if_cancelled() -> None:
    """Raises CancelledError if the running task was cancelled and the code that it awaited swallowed that.

    python-socketio does so while it waits for a connection: a loop that connects again would never end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
