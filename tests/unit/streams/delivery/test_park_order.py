"""An order to park a command that is being retried: what becomes of the command, of its key, and of the order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from schemas.bitrix24 import CardOutcome
from schemas.errors import DeliveryUnavailable
from schemas.parking import ParkedAction, ParkedOrder
from streams.delivery.job import Job
from streams.kafka import dead_letters
from streams.kafka.dead_letters import REASON
from tests.support.desk import COMMAND, TOPIC, Desk, Done, Port, Record, cards
from tests.support.local import local_serde, raw
from tests.support.waiting import until
from tests.unit.streams.delivery.test_orders import move

Make = Callable[..., Desk]


class Down(Port):
    """Fails at every call, until it is told to succeed."""

    up = False

    async def deliver(self, command: Any, attempt: int, uncertain: bool) -> Done:
        self.answers = [] if self.up else [DeliveryUnavailable("503")]
        return await super().deliver(command, attempt, uncertain)


@pytest.fixture
async def make() -> Make:
    serde, _ = await local_serde(TOPIC, *cards().receipt_topics)
    return lambda port: Desk(serde, port, threshold=10**6)


def begin(it: Desk, row: Any = COMMAND, offset: int = 5) -> tuple[Job, asyncio.Task[Any]]:
    record: Any = Record(*raw(it.serde, TOPIC, row, offset), topic=TOPIC)
    job = it.job(record)
    return job, asyncio.create_task(it.executor.execute(job))


async def test_a_stalled_command_is_parked_and_its_key_waits_behind_it(make: Make) -> None:
    it = make(Down())
    job, task = begin(it)
    await until(lambda: job.stalled)
    job.interrupt.request("ann")
    job.interrupt.request("bob")
    writes = await task
    await it.commit(writes)
    receipt = await it.receipt([w for w in writes if w[0] == "bitrix.responses"])
    assert receipt.bitrix_outcome == CardOutcome.ERROR
    assert (receipt.bitrix_reason or "").startswith("parked_by_order: parked by 'ann' after ")
    assert (receipt.bitrix_reason or "").endswith(" failed attempts: 503")
    parked = it.parking.next(b"l-1")
    assert parked is not None
    assert parked.errors[REASON] == "parked_by_order"
    assert (it.executor.stats.stalled, it.executor.stats.failed) == (0, 1)
    assert await it.execute(move(1), 6) == [], "parked behind it"
    assert it.parking.records == 2


async def test_its_last_call_may_have_been_carried_out_so_a_retry_searches_first(make: Make) -> None:
    port = Down()
    it = make(port)
    job, task = begin(it)
    await until(lambda: job.stalled)
    job.interrupt.request("ann")
    await it.commit(await task)
    port.up = True
    tries = len(port.calls)
    await it.execute(ParkedOrder("l-1", ParkedAction.RETRY, (5,)), 9)
    assert port.calls[tries][2], "uncertain"
    assert it.parking.records == 0


async def test_a_call_under_way_comes_to_its_end_and_if_it_succeeds_nothing_is_parked(make: Make) -> None:
    inside, gate = asyncio.Event(), asyncio.Event()

    class Slow(Port):
        async def deliver(self, command: Any, attempt: int, uncertain: bool) -> Done:
            inside.set()
            await gate.wait()
            return await super().deliver(command, attempt, uncertain)

    it = make(Slow())
    job, task = begin(it)
    await inside.wait()
    job.interrupt.request("ann")
    await asyncio.sleep(0.01)
    gate.set()
    receipt = await it.receipt(await task)
    assert receipt.bitrix_outcome == CardOutcome.SUCCESS
    assert it.parking.records == 0


async def test_an_order_that_comes_before_the_first_try_parks_without_a_call(make: Make) -> None:
    it = make(Port())
    record: Any = Record(*raw(it.serde, TOPIC, COMMAND, 5), topic=TOPIC)
    job = it.job(record)
    job.interrupt.request("ann")
    await it.executor.execute(job)
    assert (it.parking.records, it.port.calls) == (1, [])


async def test_a_retry_that_stalls_can_be_parked_again_and_the_rest_is_not_tried(make: Make) -> None:
    port = Down()
    it = make(port)
    job, task = begin(it)
    await until(lambda: job.stalled)
    job.interrupt.request("ann")
    await it.commit(await task)
    await it.execute(move(1), 6)
    retry, task = begin(it, ParkedOrder("l-1"), 9)
    await until(lambda: it.executor.stats.stalled)
    retry.interrupt.request("bob")
    await it.commit(await task)
    assert it.parking.records == 2
    assert {command.command_id for command, _, _ in port.calls} == {"c-1"}


async def test_told_to_end_in_a_wait_nothing_is_parked(make: Make) -> None:
    it = make(Down())
    job, task = begin(it)
    await until(lambda: job.stalled)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert it.parking.records == 0


async def test_an_order_whose_turn_comes_finds_its_command_done(make: Make) -> None:
    it = make(Port())
    await it.execute()
    assert await it.execute(ParkedOrder("l-1", ParkedAction.PARK, (5,)), 9) == []
    assert it.parking.records == 0


@pytest.mark.parametrize(
    "order", [ParkedOrder("l-1", ParkedAction.PARK), ParkedOrder("l-1", ParkedAction.PARK, edit="{}")]
)
async def test_an_order_that_names_no_command_is_a_dead_letter(make: Make, order: ParkedOrder) -> None:
    it = make(Port())
    assert [topic for topic, _ in await it.execute(order, 9)] == [dead_letters.TOPIC]
