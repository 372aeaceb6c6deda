"""The pace of requests: a bucketful at once, then as many as flow out of it."""

from __future__ import annotations

from adapters.rate_limit import Pace


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
