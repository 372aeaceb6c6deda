"""The pace of requests: a bucketful at once, then as many as flow out of it."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from adapters.rate_limit import LeakyBucket, Pace


class Time:
    """A clock that its sleepers move."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    async def of(self, pace: Pace, turns: int) -> float:
        """Seconds that so many turns take."""
        begun = self.now
        for _ in range(turns):
            await pace.turn()
        return round(self.now - begun, 3)


async def test_a_bucketful_then_the_rate() -> None:
    time = Time()
    pace = Pace(2.0, 50, time, time.sleep)
    assert await time.of(pace, 45) == 0, "a tenth of the bucket is left empty"
    assert await time.of(pace, 10) == 5.0
    time.now += 5
    assert await time.of(pace, 10) == 0
    time.now += 1000
    assert await time.of(pace, 45) == 0
    assert await time.of(pace, 1) == 0.5


async def test_a_refusal_says_that_others_call_too() -> None:
    time = Time()
    pace = Pace(2.0, 50, time, time.sleep)
    assert await time.of(pace, 1) == 0
    pace.refused()
    pace.refused()
    assert await time.of(pace, 3) == 2.0


async def test_the_smallest_bucket() -> None:
    time = Time()
    assert await time.of(Pace(4.0, 1, time, time.sleep), 5) == 1.0


async def test_a_share_begins_with_a_full_bucket_as_others_may_have_filled_it() -> None:
    time = Time()
    pace = Pace(2.0, 50, time, time.sleep)
    pace.share(1.0)
    assert await time.of(pace, 45) == 0, "alone"
    pace.share(0.5)
    assert await time.of(pace, 2) == 2.0
    time.now += 1000
    assert await time.of(pace, 22) == 0
    pace.share(1.0)
    assert await time.of(pace, 23) == 0
    assert await time.of(pace, 2) == 1.0


async def test_waiters_go_in_their_order() -> None:
    time, order = Time(), list[int]()
    pace = Pace(2.0, 1, time, time.sleep)

    async def turn(n: int) -> None:
        await pace.turn()
        order.append(n)

    await asyncio.gather(*map(turn, range(5)))
    assert order == [0, 1, 2, 3, 4]
    assert round(time.now, 3) == 102.0


@given(st.lists(st.floats(0, 5), max_size=300), st.integers(1, 60), st.sampled_from([0.5, 2.0, 5.0]))
def test_a_bucket_lets_in_no_more_than_it_holds_and_drains(waits: list[float], capacity: int, drain: float) -> None:
    now, let_in = 0.0, 0
    bucket = LeakyBucket(capacity, drain, lambda: now)
    for wait in waits:
        now += wait
        let_in += bucket.take()
    assert let_in <= capacity + now * drain + 1e-6


def test_a_bucket_that_was_left_alone_is_empty() -> None:
    now = 0.0
    bucket = LeakyBucket(50, 2.0, lambda: now)
    assert [bucket.take() for _ in range(51)] == [True] * 50 + [False]
    now = 0.5
    assert [bucket.take(), bucket.take()] == [True, False]
    now = 1000.0
    assert [bucket.take() for _ in range(51)] == [True] * 50 + [False]
