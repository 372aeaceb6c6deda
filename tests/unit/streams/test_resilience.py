"""Waits, the circuit and the pulse, on a clock of the test."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from loguru import logger

from schemas.errors import (
    DeliveryDenied,
    DeliveryError,
    DeliveryFailed,
    DeliveryRefused,
    DeliveryUnavailable,
    OutcomeUnknown,
)
from streams.resilience import (
    DENIED_S,
    MOST_RETRY_AFTER_S,
    AdaptiveLimit,
    CircuitBreaker,
    Suspended,
    Watchdog,
    backoff,
    end_if_cancelled,
    retry_wait,
)

WAITS = (0.0, 2.0, 4.0)


class Clock:
    """Sleeping moves it on."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def circuit(clock: Clock, threshold: int = 2, parallel: int = 10) -> CircuitBreaker:
    return CircuitBreaker("twin", threshold, 1.0, parallel, clock=clock, sleep=clock.sleep)


async def fail(circuit: CircuitBreaker, error: Exception) -> None:
    async def work() -> None:
        raise error

    with pytest.raises(type(error)):
        await circuit.call(work)


async def succeed(circuit: CircuitBreaker) -> str:
    async def work() -> str:
        return "ok"

    return await circuit.call(work)


def test_waits_are_the_seeds_then_grow() -> None:
    assert [retry_wait(failed, WAITS) for failed in (1, 2)] == [2.0, 4.0]
    later = [retry_wait(failed, WAITS) for failed in range(3, 40)]
    assert 4.0 <= later[0] <= 8.0
    assert all(30.0 <= wait <= 60.0 for wait in later[4:])


def test_growing_is_bounded_for_any_attempt() -> None:
    assert 30.0 <= backoff(10_000, 1.0) <= 60.0


async def test_closed_until_failures_in_a_row() -> None:
    clock = Clock()
    it = circuit(clock)
    await fail(it, DeliveryUnavailable("down"))
    await succeed(it)
    await fail(it, DeliveryUnavailable("down"))
    assert it.state == "closed"
    await fail(it, OutcomeUnknown("timed out"))
    assert it.state == "open"


@pytest.mark.parametrize("error", [DeliveryRefused("no such stage"), DeliveryFailed("500 for this one")])
async def test_what_the_system_answers_of_one_command_is_no_outage(error: DeliveryError) -> None:
    it = circuit(Clock())
    for _ in range(10):
        await fail(it, error)
    assert it.state == "closed"


async def test_a_long_limit_is_seen_and_named_once() -> None:
    """Calls that wait ten minutes for a portal's operating time look like a stall."""
    it, said = circuit(Clock()), list[str]()
    used_up = DeliveryUnavailable("crm.lead.update: its operating time is used up", retry_after=540.0)

    async def limited() -> None:
        await asyncio.sleep(0)
        raise used_up

    sink = logger.add(lambda line: said.append(str(line).strip()), level="WARNING", format="{message}")
    try:
        await asyncio.gather(*(it.call(limited) for _ in range(3)), return_exceptions=True)
    finally:
        logger.remove(sink)
    assert it.state == "limited"
    assert said == ["twin limits us, no call for 540 s: crm.lead.update: its operating time is used up"]


async def test_probes_come_one_at_a_time_and_ever_later() -> None:
    clock = Clock()
    it = circuit(clock, threshold=1)
    inside, most = 0, 0

    async def down() -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1
        raise DeliveryUnavailable("down")

    await fail(it, DeliveryUnavailable("down"))
    for _ in range(8):
        results = await asyncio.gather(*(it.call(down) for _ in range(3)), return_exceptions=True)
        assert all(isinstance(result, DeliveryUnavailable) for result in results)
    assert most == 1
    assert 0.5 <= clock.slept[0] <= 1.0
    assert max(clock.slept) >= 30.0
    assert max(clock.slept) <= 60.0


async def test_first_success_closes_it_for_all() -> None:
    clock = Clock()
    it = circuit(clock, threshold=1)
    await fail(it, DeliveryUnavailable("down"))
    assert await asyncio.gather(*(succeed(it) for _ in range(5))) == ["ok"] * 5
    assert it.state == "closed"
    assert len({round(s, 9) for s in clock.slept}) <= 5
    clock.slept.clear()
    await succeed(it)
    assert clock.slept == []


async def test_a_cancelled_probe_leaves_its_place_to_another() -> None:
    clock = Clock()
    it = circuit(clock, threshold=1)
    await fail(it, DeliveryUnavailable("down"))
    task = asyncio.create_task(it.call(lambda: asyncio.sleep(60)))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(60):
        assert await succeed(it) == "ok"


async def test_a_limit_holds_all_and_is_no_failure() -> None:
    clock = Clock()
    it = circuit(clock, threshold=1)
    await fail(it, DeliveryUnavailable("slow down", retry_after=7.0))
    assert it.state == "limited"
    assert it.limit.now == 5
    await succeed(it)
    assert clock.slept == [7.0]
    assert it.limit.now > 5


async def test_nobody_is_held_for_ever_by_a_header() -> None:
    clock = Clock()
    it = circuit(clock)
    await fail(it, DeliveryUnavailable("slow down", retry_after=1e9))
    await succeed(it)
    assert clock.slept == [MOST_RETRY_AFTER_S]


async def test_denied_waits_long_and_asks_again() -> None:
    clock = Clock()
    it = circuit(clock)
    await fail(it, DeliveryDenied("expired", for_all=True))
    assert it.state == "open"
    await succeed(it)
    assert clock.slept == [DENIED_S]


async def test_a_denial_of_one_is_an_answer() -> None:
    clock = Clock()
    it = circuit(clock)
    await fail(it, DeliveryDenied("not this one"))
    assert it.state == "closed"
    await fail(it, DeliveryUnavailable("503"))
    await fail(it, DeliveryUnavailable("503"))
    await fail(it, DeliveryDenied("not this one"))
    assert it.state == "closed", "it was down, and is there again"


async def test_width_bounds_and_loses_no_turn() -> None:
    width, inside, most = AdaptiveLimit(4), 0, 0

    async def visit(number: int) -> None:
        nonlocal inside, most
        async with width:
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1
            if number % 5 == 0:
                width.narrow()
            width.widen()

    tasks = [asyncio.create_task(visit(n)) for n in range(60)]
    await asyncio.sleep(0)
    for task in tasks[10:50:7]:
        task.cancel()
    async with asyncio.timeout(60):
        results: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
    assert most <= 4
    assert sum(isinstance(r, asyncio.CancelledError) for r in results) == 6
    assert width.now <= 4


def test_pulse_notices_a_stop() -> None:
    clock = Clock()
    pulse = Watchdog(8.0, clock=clock)
    for _ in range(5):
        clock.now += 2
        pulse.beat()
    clock.now += 9
    with pytest.raises(Suspended):
        pulse.check()
    with pytest.raises(Suspended):
        pulse.beat()


async def test_a_cancellation_that_a_library_swallows_ends_the_loop_all_the_same() -> None:
    async def swallowing() -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            end_if_cancelled()

    task = asyncio.create_task(swallowing())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=60)
    assert task.cancelled()
