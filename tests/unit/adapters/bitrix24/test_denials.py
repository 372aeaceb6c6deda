"""Whom a portal denies: one call of a batch, or all; by its codes, and by other calls where a code does not say it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from adapters.bitrix24.rest.answers import Failure, of_error, of_status
from adapters.bitrix24.rest.batcher import SOME, Batcher
from adapters.bitrix24.rest.operating_time import OperatingTime
from adapters.rate_limit import Pace
from schemas.errors import DeliveryDenied


class Portal:
    """Denies ``denied`` calls, each and, as a firewall does, the whole batch in which one is."""

    def __init__(self, *denied: int, inner: bool = False) -> None:
        self.denied, self.inner = denied, inner
        self.requests: list[str] = []

    async def post(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any] | Failure:
        self.requests.append(method)
        calls = {"": method + f"?id={params.get('id')}"} if method != "batch" else dict(params["cmd"])
        denied = {name for name, call in calls.items() if int(call.rpartition("=")[2]) in self.denied}
        if method != "batch":
            return of_status(403, None) if denied else {"result": True}
        if denied and not self.inner:
            return of_status(403, None)
        error = {"error": "ACCESS_DENIED", "error_description": "Access denied."}
        return {
            "result": {
                "result": {name: True for name in calls if name not in denied} or [],
                "result_error": dict.fromkeys(denied, error) or [],
            }
        }

    async def call(self, count: int) -> list[int]:
        """Which of so many calls at once are denied."""
        batcher = Batcher(self.post, Pace(1_000, 50), OperatingTime(lambda: 0.0))
        calls = (batcher.call("crm.lead.update", {"id": n}) for n in range(count))
        found = await asyncio.gather(*calls, return_exceptions=True)
        await batcher.close()
        return [n for n, one in enumerate(found) if isinstance(one, DeliveryDenied)]


async def test_one_call_of_a_batch_is_denied_and_that_alone() -> None:
    portal = Portal(3, inner=True)
    assert await portal.call(9) == [3]
    assert portal.requests == ["batch"]


@pytest.mark.parametrize("denied", [(0,), (7,), (1, 8)])
async def test_one_call_that_spoils_its_batch_is_held_against_none_of_the_others(denied: tuple[int, ...]) -> None:
    portal = Portal(*denied)
    assert await portal.call(9) == list(denied)
    assert portal.requests.count("batch") == 1


async def test_where_all_are_denied_few_are_called_alone() -> None:
    portal = Portal(*range(50))
    assert await portal.call(50) == list(range(50))
    assert len(portal.requests) == 1 + SOME


async def test_a_call_of_a_denied_batch_is_not_made_for_a_caller_that_left() -> None:
    """A write that is made after its caller searched for it again would be made twice."""
    portal = Portal(0, 1)
    begun, go_on, post = asyncio.Event(), asyncio.Event(), portal.post

    async def slow(method: str, params: Mapping[str, Any]) -> Mapping[str, Any] | Failure:
        begun.set()
        await go_on.wait()
        return await post(method, params)

    batcher = Batcher(slow, Pace(1_000, 50), OperatingTime(lambda: 0.0))
    calls = [asyncio.create_task(batcher.call("crm.lead.update", {"id": n})) for n in range(2)]
    await begun.wait()
    calls[0].cancel()
    await asyncio.sleep(0)
    go_on.set()
    found = await asyncio.gather(*calls, return_exceptions=True)
    await batcher.close()
    assert [type(one) for one in found] == [asyncio.CancelledError, DeliveryDenied]
    assert portal.requests == ["batch", "crm.lead.update"]


@pytest.mark.parametrize("code", ["NO_AUTH_FOUND", "INVALID_CREDENTIALS", "expired_token", "PORTAL_DELETED"])
def test_codes_that_are_about_all(code: str) -> None:
    denied = of_error(code, "", 401, None).of("crm.lead.add")
    assert isinstance(denied, DeliveryDenied)
    assert denied.for_all


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ACCESS_DENIED", 403),
        ("insufficient_scope", 403),
        ("user_access_error", 401),
        ("", 403),
        ("ACCESS_DENIED", 400),
    ],
)
def test_codes_that_may_be_about_one(code: str, status: int) -> None:
    denied = of_error(code, "Access denied.", status, None).of("crm.lead.update")
    assert isinstance(denied, DeliveryDenied)
    assert not denied.for_all
