"""The pace of calls: free, then one after the other, then free again."""

from __future__ import annotations

from adapters.bitrix24.pace import MARGIN, RELAX_S, Pace


class Time:
    """A clock whose sleepers do not wait, but are noted."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 3))


async def test_free_paced_free() -> None:
    time = Time()
    pace = Pace(2.0 / MARGIN, time, time.sleep)
    for _ in range(100):
        await pace.turn()
    assert time.slept == []
    pace.refused()
    pace.refused()
    for _ in range(4):
        await pace.turn()
    assert time.slept == [0.5, 1.0, 1.5, 2.0]
    time.now += 1.9
    await pace.turn()
    assert time.slept[-1] == 0.6, "the queue is kept"
    time.now += 10
    await pace.turn()
    assert time.slept[-1] == 0.0
    time.now += RELAX_S
    await pace.turn()
    assert len(time.slept) == 6, "free again"
