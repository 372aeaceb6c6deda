"""Order over all keys: a run begins when all before it is done."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.delivery import ordered_runs
from streams.delivery.ordered_runs import OrderedRuns

KEYS = (b"a/1", b"a/2", b"a/3", b"b/1", b"b/2", b"alone/1", None)


class Job(NamedTuple):
    number: int
    key: bytes | None
    pauses: int


def run_of(key: bytes | None) -> str | None:
    name = (key or b"").decode().partition("/")[0]
    return name if name in ("a", "b") else None


class Watch:
    """Work that notes what was under way together; ``most``: of each run."""

    def __init__(self) -> None:
        self.inside: list[Job] = []
        self.together: list[set[Job]] = []
        self.done: list[Job] = []

    async def work(self, job: Job) -> None:
        if not self.inside:
            self.together.append(set())
        self.inside.append(job)
        self.together[-1].add(job)
        for _ in range(job.pauses):
            await asyncio.sleep(0)
        self.inside.remove(job)
        self.done.append(job)


async def finish(runs: OrderedRuns[Any]) -> None:
    while len(runs):  # noqa: ASYNC110
        await asyncio.sleep(0)


@given(st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 3)), max_size=40), st.integers(0, 40))
def test_runs_follow_each_other_in_the_order_of_put(todo: list[tuple[bytes | None, int]], later: int) -> None:
    jobs = [Job(number, key, pauses) for number, (key, pauses) in enumerate(todo)]
    watch = Watch()

    async def run() -> None:
        runs: OrderedRuns[Job] = OrderedRuns(watch.work, lambda error: pytest.fail(repr(error)), run_of)
        for job in jobs[:later]:
            runs.put(job.key, job)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for job in jobs[later:]:
            runs.put(job.key, job)
        await finish(runs)

    asyncio.run(run())
    assert sorted(watch.done) == jobs
    after = 0
    for together in watch.together:
        numbers = sorted(job.number for job in together)
        assert numbers[0] >= after, "none began before one of an earlier run was done"
        after = numbers[-1] + 1
        assert len({job.key for job in together}) == len(together)
        assert len({run_of(job.key) for job in together}) == 1


async def test_what_was_put_together_is_one_run_and_no_longer_than_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordered_runs, "MOST", 3)
    watch = Watch()
    runs: OrderedRuns[Job] = OrderedRuns(watch.work, lambda error: pytest.fail(repr(error)), run_of)
    for number, key in enumerate((b"a/1", b"a/2", b"a/3", b"a/4", b"b/1", b"alone/1", b"alone/2")):
        runs.put(key, Job(number, key, 1))
    await finish(runs)
    assert [len(together) for together in watch.together] == [3, 1, 1, 1, 1]


async def test_nothing_overtakes_a_job_that_fails() -> None:
    done, failed = [], []

    async def work(job: int) -> None:
        if job == 1:
            raise ValueError(job)
        done.append(job)

    runs: OrderedRuns[int] = OrderedRuns(work, failed.append, run_of)
    for number, key in enumerate((b"a/1", b"b/1", b"a/1")):
        runs.put(key, number)
    while not failed:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert (done, len(runs)) == ([0], 2)
    await runs.close(0)
    assert done == [0]


async def test_a_close_lets_the_run_under_way_end_and_begins_no_other() -> None:
    gate, done = asyncio.Event(), []

    async def work(job: int) -> None:
        try:
            await gate.wait()
        except asyncio.CancelledError:
            done.append(job)
            raise

    runs: OrderedRuns[int] = OrderedRuns(work, lambda error: pytest.fail(repr(error)), run_of)
    for number, key in enumerate((b"a/1", b"a/2", b"b/1")):
        runs.put(key, number)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await runs.close(5)
    runs.put(b"b/1", 4)
    await asyncio.sleep(0)
    assert sorted(done) == [0, 1]
