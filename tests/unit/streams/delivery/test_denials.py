"""A command that the outside system denies: alone it is parked, and where all are denied none is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from schemas.bitrix24 import CardOutcome
from schemas.errors import DeliveryDenied, DeliveryError, DeliveryRefused
from schemas.parking import ParkedAction, ParkedOrder
from streams.denials import ALL, Denials
from streams.resilience import DENIED_S
from tests.support.desk import COMMAND, TOPIC, Desk, Done, cards
from tests.support.local import local_serde

DENIED = DeliveryDenied("crm.lead.update: ACCESS_DENIED: Access denied.")


class Rights:
    """A port that asks ``may`` of each call."""

    def __init__(self, may: Callable[[str], DeliveryError | None]) -> None:
        self.may = may
        self.calls: list[str] = []

    async def deliver(self, command: Any, attempt: int, uncertain: bool) -> Done:
        await asyncio.sleep(0)
        self.calls.append(command.ext_id)
        if error := self.may(command.ext_id):
            raise error
        return Done(77)


async def desk_of(may: Callable[[str], DeliveryError | None]) -> Desk:
    serde, _ = await local_serde(TOPIC, *cards().receipt_topics)
    return Desk(serde, Rights(may))


def named(n: int, again: str = "") -> Any:
    return COMMAND._replace(ext_id=f"l-{n}", command_id=f"c-{n}{again}")


async def carried(it: Desk, *numbers: int) -> list[float]:
    """Seconds that each of these, one after the other, had to wait."""
    waits = []
    for n in numbers:
        begun = it.now
        await it.execute(named(n), 100 + n)
        waits.append(it.now - begun)
    return waits


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - by the clock of the test
        await asyncio.sleep(0)


async def test_one_key_that_is_denied_is_parked_and_others_do_not_wait() -> None:
    it = await desk_of(lambda key: DENIED if key == "l-1" else None)
    first = asyncio.create_task(it.execute(named(1), 5))
    await asyncio.sleep(0)
    assert max(await carried(it, *range(2, 12))) < 20
    receipt = await it.receipt(await first)
    assert (receipt.bitrix_outcome, receipt.bitrix_reason) == (CardOutcome.ERROR, f"delivery_denied: {DENIED.message}")
    assert (it.parking.records, it.executor.stats.failed, it.executor.circuit.state) == (1, 1, "closed")
    parked = it.parking.next(b"l-1")
    assert parked is not None
    assert "parked retry" in parked.errors["kounter.hint"]
    assert await it.execute(named(1, "b"), 30) == []
    assert it.parking.records == 2, "what comes after it stays behind it"
    assert it.port.calls.count("l-1") <= 3, "it was asked once more, as rights may have changed meanwhile"


async def test_a_denied_one_in_every_three_stops_nothing_for_long() -> None:
    it = await desk_of(lambda key: DENIED if int(key[2:]) % 3 == 0 else None)
    begun = it.now
    async with asyncio.timeout(60):
        await asyncio.gather(*(it.execute(named(n), n) for n in range(60)))
    assert it.now - begun < DENIED_S * 5, "as seconds of all of them together"
    assert (it.executor.stats.completed, it.parking.keys) == (40, 20)


async def test_many_denied_side_by_side_stop_the_others_for_a_moment_only() -> None:
    it = await desk_of(lambda key: DENIED if int(key[2:]) < 2 * ALL else None)
    denied = [asyncio.create_task(it.execute(named(n), n)) for n in range(2 * ALL)]
    await asyncio.sleep(0)
    assert max(await carried(it, *range(50, 60))) < DENIED_S, "as seconds of all of them together"
    await asyncio.gather(*denied)
    assert (it.executor.stats.completed, it.parking.keys) == (10, 2 * ALL)


async def test_denied_for_all_nothing_is_parked_and_little_is_called() -> None:
    revoked = True
    it = await desk_of(lambda key: DENIED if revoked else None)
    tasks = [asyncio.create_task(it.execute(named(n), n)) for n in range(100)]
    await until(lambda: it.executor.circuit.state != "closed")
    begun, made = it.now, len(it.port.calls)
    assert made <= 10 + ALL, "as many as were under way"
    await until(lambda: it.now - begun > 1_000)
    assert it.parking.records == 0
    assert it.executor.stats.completed == 0
    revoked = False
    async with asyncio.timeout(60):
        await asyncio.gather(*tasks)
    assert (it.executor.stats.completed, it.parking.records, it.executor.stats.stalled) == (100, 0, 0)


async def test_what_is_denied_for_all_opens_the_circuit_at_once() -> None:
    answers = [DeliveryDenied("NO_AUTH_FOUND", for_all=True)]
    it = await desk_of(lambda key: answers.pop() if answers else None)
    assert await carried(it, 1) == [DENIED_S]
    assert it.executor.stats.completed == 1


async def test_a_command_alone_with_its_denial_is_told_and_tried_every_minute() -> None:
    answers: list[DeliveryError] = [DENIED] * 4
    it = await desk_of(lambda key: answers.pop() if answers else None)
    ((wait),) = await carried(it, 1)
    assert 4 * DENIED_S <= wait < 5 * DENIED_S
    assert (it.executor.stats.completed, it.parking.records) == (1, 0)
    assert (await it.receipt(it.told)).bitrix_outcome == CardOutcome.ERROR


async def test_a_refusal_says_nothing_of_rights() -> None:
    """The sink refuses some data without asking anybody."""
    answers = {"l-1": DENIED, "l-2": DeliveryRefused("no stage 17")}
    it = await desk_of(answers.get)
    first = asyncio.create_task(it.execute(named(1), 5))
    await asyncio.sleep(0)
    await carried(it, 2)
    await asyncio.sleep(0.01)
    assert b"l-1" not in it.parking
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert not it.executor.circuit.denials.are_all


async def test_a_denied_retry_by_a_person_stays_parked_and_waits_for_nobody() -> None:
    it = await desk_of(lambda key: DENIED if key == "l-1" else None)
    first = asyncio.create_task(it.execute(named(1), 5))
    await asyncio.sleep(0)
    await carried(it, 2)
    await first
    begun = it.now
    order = ParkedOrder("l-1", ParkedAction.RETRY, (5,), None, "test")
    async with asyncio.timeout(60):
        await it.execute(order, 9)
    assert it.parking.records == 1
    assert it.now - begun < DENIED_S


@pytest.mark.parametrize("begun", [0, 1])
def test_only_a_call_that_began_later_shows_that_a_denial_was_one_alone(begun: int) -> None:
    denials = Denials()
    number = denials.add()
    denials.answered(begun)
    for _ in range(ALL):
        denials.add()
    assert denials.is_alone(number, 0) is (begun == 1)


async def test_denied_in_the_midst_of_others_and_nothing_comes_after_it() -> None:
    """As in one batch."""
    it = await desk_of(lambda key: DENIED if key == "l-3" else None)
    async with asyncio.timeout(60):
        await asyncio.gather(*(it.execute(named(n), n) for n in range(4)))
    assert (it.executor.stats.completed, it.parking.keys) == (3, 1)
    assert it.now < DENIED_S


async def test_a_right_that_is_taken_away_while_calls_are_under_way_parks_nothing() -> None:
    taken: list[str] = []
    it = await desk_of(lambda key: DENIED if len(taken) > 20 else taken.append(key))
    tasks = [asyncio.create_task(it.execute(named(n), n)) for n in range(100)]
    await until(lambda: it.now > 1_000)
    assert it.parking.records == 0
    taken.clear()
    it.port.may = lambda key: None
    async with asyncio.timeout(60):
        await asyncio.gather(*tasks)
    assert (it.executor.stats.completed, it.parking.records) == (100, 0)
