"""Order within a key, and a position that is never past what is not done."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.delivery.key_queues import KeyQueues

jobs = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 3)), max_size=40)


@given(jobs)
def test_serial_and_in_order_within_a_key(todo: list[tuple[str, int]]) -> None:
    started: dict[str, list[int]] = defaultdict(list)
    inside: dict[str, int] = defaultdict(int)

    async def work(job: tuple[str, int, int]) -> None:
        key, number, pauses = job
        inside[key] += 1
        assert inside[key] == 1
        started[key].append(number)
        for _ in range(pauses):
            await asyncio.sleep(0)
        inside[key] -= 1

    async def run() -> None:
        queues: KeyQueues[Any] = KeyQueues(work, lambda error: pytest.fail(repr(error)))
        for number, (key, pauses) in enumerate(todo):
            queues.put(key, (key, number, pauses))
        while len(queues):  # noqa: ASYNC110
            await asyncio.sleep(0)

    asyncio.run(run())
    assert {key: sorted(numbers) for key, numbers in started.items()} == started
    assert sum(map(len, started.values())) == len(todo)


async def test_keys_do_not_wait_for_each_other() -> None:
    gate, done = asyncio.Event(), []

    async def work(job: str) -> None:
        if job == "slow":
            await gate.wait()
        done.append(job)

    queues: KeyQueues[str] = KeyQueues(work, lambda error: pytest.fail(repr(error)))
    for key, job in (("a", "slow"), ("a", "behind"), ("b", "quick")):
        queues.put(key, job)
    await asyncio.sleep(0.01)
    assert done == ["quick"]
    gate.set()
    await asyncio.sleep(0.01)
    assert done == ["quick", "slow", "behind"]


async def test_behind_a_failed_job_nothing_of_its_key_is_done() -> None:
    done: list[int] = []
    errors: list[Exception] = []

    async def work(job: int) -> None:
        if job == 1:
            raise ValueError("no")
        done.append(job)

    queues: KeyQueues[int] = KeyQueues(work, errors.append)
    for job in (1, 2):
        queues.put("a", job)
    await asyncio.sleep(0.01)
    queues.put("a", 3)
    await asyncio.sleep(0.01)
    assert done == []
    assert len(errors) == 1
    await queues.close(1)


async def test_close_lets_work_end_that_takes_its_cancellation_so_and_starts_no_more() -> None:
    done: list[str] = []

    async def work(job: str) -> None:
        call = asyncio.ensure_future(asyncio.sleep(0.02))
        try:
            await asyncio.shield(call)
        except asyncio.CancelledError:
            await call
        done.append(job)

    queues: KeyQueues[str] = KeyQueues(work, lambda error: pytest.fail(repr(error)))
    queues.put("a", "first")
    queues.put("a", "second")
    await asyncio.sleep(0)
    await queues.close(1)
    assert done == ["first"]
    queues.put("b", "late")
    await asyncio.sleep(0.03)
    assert done == ["first"]


async def test_close_abandons_what_outlasts_its_grace() -> None:
    async def work(job: str) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(60)

    queues: KeyQueues[str] = KeyQueues(work, lambda error: pytest.fail(repr(error)))
    queues.put("a", "endless")
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await queues.close(0.01)
