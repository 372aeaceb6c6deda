"""Changes that wait together become few calls, in order, and each gets the answer of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.backend.batcher import FRAME_BYTES, MOST_BYTES, SOME, Batcher
from adapters.backend.queue import ONE_BY_ONE, OneMaySpoil
from adapters.http_client import HttpRefused
from schemas.errors import DeliveryError, DeliveryUnavailable, OutcomeUnknown


class Door:
    """Takes what ``answer`` raises no error for; notes calls and, in ``taken``, the things of those that succeed."""

    def __init__(self, answer: Callable[[Sequence[bytes]], None] = lambda things: None) -> None:
        self._answer = answer
        self.calls: list[tuple[str, list[bytes]]] = []
        self.taken: list[bytes] = []
        self.inside = 0

    async def post(self, type: str, things: Sequence[bytes]) -> None:
        assert self.inside == 0, "one call at a time"
        self.inside += 1
        await asyncio.sleep(0)
        self.inside -= 1
        self.calls.append((type, list(things)))
        self._answer(things)
        self.taken += things


async def posted(batcher: Batcher, *things: tuple[str, int, bytes]) -> list[Any]:
    return await asyncio.gather(*(batcher.post(*thing) for thing in things), return_exceptions=True)


Things = st.lists(
    st.tuples(st.sampled_from(["premise", "lead", "client"]), st.sampled_from([1, 30_000, 69_980, 90_000])), max_size=12
)


@settings(deadline=None)
@given(Things, st.randoms())
def test_calls_fit_and_keep_the_order(sizes: list[tuple[str, int]], dice: Any) -> None:
    things = [(type, n, b"%06d" % n + b"x" * size) for n, (type, size) in enumerate(sizes)]
    door = Door()

    async def run() -> None:
        shuffled = [*things]
        dice.shuffle(shuffled)
        assert await posted(Batcher(door), *shuffled) == [None] * len(things)

    asyncio.run(run())
    assert door.taken == [body for _, _, body in things]
    for type, bodies in door.calls:
        assert len(bodies) == 1 or FRAME_BYTES + sum(len(body) + 1 for body in bodies) <= MOST_BYTES
        assert len(bodies) == 1 or type not in ONE_BY_ONE


@settings(deadline=None)
@given(st.sets(st.integers(0, 39)))
def test_each_refused_thing_is_found_and_no_other_is_refused(bad: set[int]) -> None:
    def answer(things: Sequence[bytes]) -> None:
        if any(int(thing) in bad for thing in things):
            raise HttpRefused("no", status=422)

    door = Door(answer)
    ends = asyncio.run(posted(Batcher(door), *(("lead", n, b"%d" % n) for n in range(40))))
    assert {n for n, end in enumerate(ends) if end is not None} == bad
    assert [int(thing) for thing in door.taken] == [n for n in range(40) if n not in bad]


def test_a_backend_that_is_broken_is_asked_a_few_times_only() -> None:
    def answer(things: Sequence[bytes]) -> None:
        raise OneMaySpoil("500")

    door = Door(answer)
    ends = asyncio.run(posted(Batcher(door), *(("lead", n, b"%d" % n) for n in range(128))))
    assert all(isinstance(end, OneMaySpoil) for end in ends)
    assert [len(things) for _, things in door.calls].count(1) == SOME
    assert len(door.calls) < 14


@pytest.mark.parametrize("error", [DeliveryUnavailable("down"), OutcomeUnknown("cut off")])
def test_an_outage_is_the_answer_of_all_and_is_not_halved(error: DeliveryError) -> None:
    def answer(things: Sequence[bytes]) -> None:
        raise error

    door = Door(answer)
    assert asyncio.run(posted(Batcher(door), *(("lead", n, b"{}") for n in range(9)))) == [error] * 9
    assert len(door.calls) == 1


def test_a_defect_of_the_client_leaves_no_caller_waiting() -> None:
    def answer(things: Sequence[bytes]) -> None:
        raise KeyError(len(things))

    things = (("lead", 1, b"{}"), ("lead", 2, b"{}"), ("client", 3, b"{}"), ("lead", 4, b"{}"))
    ends = asyncio.run(posted(Batcher(Door(answer)), *things))
    assert [type(end) for end in ends] == [KeyError] * 4


async def test_a_client_that_closes_leaves_no_caller_waiting() -> None:
    gate = asyncio.Event()

    class Slow(Door):
        async def post(self, type: str, things: Sequence[bytes]) -> None:
            await gate.wait()

    batcher = Batcher(Slow())
    calls = [asyncio.create_task(batcher.post("lead", n, b"{}")) for n in range(2)]
    for _ in range(20):
        await asyncio.sleep(0)
    calls.append(asyncio.create_task(batcher.post("lead", 3, b"{}")))
    await asyncio.sleep(0)
    await batcher.close()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(end) for end in ends] == [OutcomeUnknown] * 3
