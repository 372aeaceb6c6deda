"""One account or abonent of the operator's that can't be read holds up none of the others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.rosdomofon.actions import OperatorActions
from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.kafka.client import RosDomofonKafka
from adapters.rosdomofon.reconciliation import Comparison
from adapters.rosdomofon.reconciliation_state import Known
from adapters.rosdomofon.settings import OperatorSettings, RosDomofonKafkaSettings
from adapters.rosdomofon.unread import IN_A_ROW
from schemas.errors import DeliveryDenied, DeliveryRefused, DeliveryUnavailable
from schemas.rosdomofon import OperatorAction, OperatorCommand
from tests.contract.rosdomofon.test_reconciliation import Ours

Answer = Callable[[str], Any]
"""A status or a body for a path; None: as it is."""


def account(n: int, **more: Any) -> dict[str, Any]:
    return {"id": n, "number": f"A{n}", "blocked": False, "owner": {"id": 100 + n, "phone": 79_990_000_000 + n}} | more


class Operator:
    """Its REST: some accounts, and ``odd`` answers."""

    def __init__(self, accounts: list[Any], odd: Answer = lambda path: None) -> None:
        self.accounts, self.odd = accounts, odd
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.partition("/api/v1")[2] or request.url.path
        self.asked.append(path)
        odd = self.odd(path)
        if isinstance(odd, int):
            return httpx.Response(odd, json={"error": "odd"})
        if path.endswith("token"):
            return httpx.Response(200, json={"access_token": "t", "token_type": "bearer", "expires_in": 60})
        if path == "/accounts":
            odd = odd or self.accounts
        if path == "/services" or path.endswith("/messages"):
            odd = {"content": odd or [], "last": True}
        return httpx.Response(200, content=json.dumps(odd or []), headers={"content-type": "application/json"})

    def api(self) -> RosDomofonAPI:
        settings = OperatorSettings(base_url="https://rest.example", username="u")
        api = RosDomofonAPI(settings)
        api._rest._http = httpx.AsyncClient(base_url="https://rest.example", transport=httpx.MockTransport(self))
        return api


async def compare(operator: Operator, folder: Path, times: int = 1) -> tuple[Any, list[str]]:
    """The last of so many comparisons, and what was told in it."""
    known, ours = Known(folder / "known.sqlite"), Ours()
    known.begun = 0.0

    async def heard(since: float, abonents: Any) -> list[Any]:
        return []

    try:
        async with operator.api() as api:
            comparison = Comparison(api, ours, known, heard)  # type: ignore[arg-type]
            for _ in range(times):
                ours.taken()
                found = await comparison.compare()
    finally:
        known.close()
    return found, [f"{type(row).__name__} {row.ext_id}" for row in ours.rows]


def odd_at(path: str, answer: Any) -> Answer:
    return lambda asked: answer if asked == path else None


@pytest.mark.parametrize("status", [400, 403, 404, 500])
@pytest.mark.parametrize(
    "path", ["/accounts/2/flats", "/accounts/2/connections", "/abonents/102/messages", "/services"]
)
async def test_one_that_is_denied_or_gone_or_broken_is_named_and_the_others_are_compared(
    path: str, status: int, tmp_path: Path
) -> None:
    operator = Operator([account(n) for n in (1, 2, 3)], odd_at(path, status))
    found, told = await compare(operator, tmp_path)
    assert {f"Account {n}" for n in (1, 2, 3)} | {f"Abonent {100 + n}" for n in (1, 2, 3)} <= set(told)
    assert found.unread == 1
    assert {f"/abonents/{100 + n}/messages" for n in (1, 2, 3)} <= set(operator.asked)


@pytest.mark.parametrize("row", [None, "x", {"id": "no number"}, account(2, id={}), account(2, id="?")])
async def test_a_row_that_cant_be_read_is_passed_over(row: Any, tmp_path: Path) -> None:
    found, told = await compare(Operator([account(1), row, account(3)]), tmp_path)
    assert {"Account 1", "Account 3"} <= set(told)
    assert "Account 2" not in told
    assert found.unread == 1


async def test_it_is_read_again_the_next_time_and_its_time_has_not_passed(tmp_path: Path) -> None:
    said = {"id": 9, "incoming": True, "message": "Алло", "messageDate": "2026-11-01T00:00:00Z", "channel": "support"}
    broken = [{"id": "?"}, said]
    operator = Operator([account(1)], odd_at("/abonents/101/messages", broken))
    await compare(operator, tmp_path)
    known = Known(tmp_path / "known.sqlite")
    assert dict(known.due(9)) == {"101": 0}
    known.close()
    operator.odd = odd_at("/abonents/101/messages", [said])
    await compare(operator, tmp_path)
    known = Known(tmp_path / "known.sqlite")
    assert dict(known.due(9))["101"] > 0
    known.close()


@pytest.mark.parametrize(("status", "error"), [(403, DeliveryDenied), (500, DeliveryUnavailable)])
async def test_where_all_are_denied_it_ends_soon_and_says_so(
    status: int, error: type[Exception], tmp_path: Path
) -> None:
    operator = Operator([account(n) for n in range(1, 100)], lambda p: status if p.count("/") > 2 else None)
    with pytest.raises(error):
        await compare(operator, tmp_path)
    assert sum(path.count("/") > 2 for path in operator.asked) <= IN_A_ROW + 1


async def test_those_behind_many_that_are_denied_get_their_turn(tmp_path: Path) -> None:
    denied = {f"/accounts/{n}/{what}" for n in range(1, IN_A_ROW) for what in ("flats", "connections")}
    operator = Operator([account(n) for n in range(1, 30)], lambda p: 403 if p in denied else None)
    known, ours = Known(tmp_path / "known.sqlite"), Ours()
    async with operator.api() as api:
        comparison = Comparison(api, ours, known, None)  # type: ignore[arg-type]
        with pytest.raises(DeliveryDenied):
            await comparison.compare()
        operator.asked.clear()
        await comparison.compare()
    known.close()
    assert "/accounts/29/flats" in operator.asked


@pytest.mark.parametrize(
    ("row", "error"),
    [
        (account(2, id="?"), DeliveryRefused),
        (account(2, owner={"id": 777}, id="?"), DeliveryUnavailable),
        (None, DeliveryUnavailable),
    ],
)
async def test_an_account_that_cant_be_read_is_not_an_abonent_without_account(row: Any, error: type[Exception]) -> None:
    operator = Operator([account(1), row])
    command = OperatorCommand("777", "c-1", OperatorAction.BLOCK, abonent_ext_id="777")
    kafka = RosDomofonKafka(RosDomofonKafkaSettings())
    async with operator.api() as api:
        port = OperatorActions(OperatorSettings(), kafka, api)
        with pytest.raises(error):
            await port.deliver(command, 1, False)
        assert (await api.get_account_by_phone("79990000001")) is not None
        with pytest.raises(DeliveryUnavailable):
            await api.get_account_by_phone("79990000009")
