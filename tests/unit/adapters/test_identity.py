"""Who answers is looked at once, and again when that may have changed."""

from __future__ import annotations

import asyncio

import pytest

from adapters import identity
from adapters.identity import Sure
from schemas.errors import BrokenSetup, DeliveryDenied, DeliveryError, DeliveryRefused, DeliveryUnavailable


class Watched:
    def __init__(self) -> None:
        self.looks, self.now = 0, 0.0
        self.error: Exception | None = None
        self.sure = Sure(self.look, lambda: self.now)

    async def look(self) -> None:
        self.looks += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error


async def test_all_who_call_share_one_look() -> None:
    it = Watched()
    await asyncio.gather(*(it.sure.ensure() for _ in range(200)))
    assert it.looks == 1


@pytest.mark.parametrize(
    ("error", "after_s", "looks"),
    [
        (DeliveryUnavailable("away"), 0.0, 2),
        (DeliveryUnavailable("slow down", retry_after=1.0), 0.0, 1),
        (DeliveryRefused("400"), 0.0, 1),
        (DeliveryDenied("one lead"), 1.0, 1),
        (DeliveryDenied("revoked"), identity.DENIED_S + 1, 2),
        (DeliveryRefused("400"), identity.AGAIN_S + 1, 2),
    ],
)
async def test_when_it_is_looked_at_again(error: DeliveryError, after_s: float, looks: int) -> None:
    it = Watched()
    await it.sure.ensure()
    it.now += after_s
    it.sure.failed(error)
    await it.sure.ensure()
    assert it.looks == looks


async def test_who_cant_be_looked_at_is_not_called_but_does_not_hold_up_a_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    it = Watched()
    it.error = DeliveryUnavailable("away")
    await it.sure.begin()
    with pytest.raises(DeliveryUnavailable):
        await it.sure.ensure()
    it.error = BrokenSetup("another one")
    with pytest.raises(BrokenSetup):
        await it.sure.begin()
    monkeypatch.setattr(identity, "BEGIN_S", 0.01)
    hanging = Sure(asyncio.Event().wait)  # type: ignore[arg-type]
    await hanging.begin()


async def test_all_who_wait_share_a_look_that_fails() -> None:
    """Each would wait for the timeouts of all before it: minutes, while a system hangs."""
    it = Watched()
    it.error = DeliveryUnavailable("away")
    found = await asyncio.gather(*(it.sure.ensure() for _ in range(20)), return_exceptions=True)
    assert [type(one) for one in found] == [DeliveryUnavailable] * 20
    assert it.looks == 1


async def test_a_caller_that_leaves_does_not_end_the_look_of_the_others() -> None:
    it = Watched()
    first, second = (asyncio.create_task(it.sure.ensure()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert it.looks == 1
