"""Faults found by a review of the RosDomofon package."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.dead_letters import take_over
from adapters.rosdomofon.kafka import client as kafka_client
from adapters.rosdomofon.kafka.client import RosDomofonKafka
from adapters.rosdomofon.reconciliation import Comparison
from adapters.rosdomofon.reconciliation_state import Known
from adapters.rosdomofon.rest.messages import NotDelivered
from adapters.rosdomofon.rest.models import SendResult
from adapters.rosdomofon.settings import OperatorSettings, RosDomofonKafkaSettings
from schemas.errors import BrokenSetup, DeliveryUnavailable, InvalidInput


@pytest.mark.parametrize("error", [BrokenSetup("a batch can't be unpacked"), sqlite3.OperationalError("disk full")])
async def test_a_comparison_that_fails_is_retried_whatever_the_error(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One unreadable batch on MESSAGES_IN, or a full disk, ended the comparisons until a restart."""
    attempts = 0

    async def compare(self: Comparison) -> Any:
        nonlocal attempts
        attempts += 1
        if attempts == 2:
            raise asyncio.CancelledError
        raise error

    monkeypatch.setattr(Comparison, "compare", compare)
    unused: Any = None
    with pytest.raises(asyncio.CancelledError):
        await Comparison(unused, unused, unused, unused).run(0.0)
    assert attempts == 2


def test_a_write_of_the_state_that_fails_leaves_none_of_its_rows(tmp_path: Path) -> None:
    known = Known(tmp_path / "known.sqlite")
    unbindable: Any = [1]
    with pytest.raises(sqlite3.Error):
        known.met(["1", unbindable])
    assert known.due(10) == []
    known.met(["2"])
    assert known.due(10) == [("2", 0.0)]
    known.close()


def test_the_operators_reason_shows_no_phone() -> None:
    error = NotDelivered([SendResult(id=5, success=False, result="no token for 79131234567")])
    assert "79131234567" not in str(error)
    assert "7913*****67" in str(error)


async def test_an_operator_that_ignores_the_page_number_is_not_read_for_ever() -> None:
    asked = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        if request.url.path.endswith("token"):
            return httpx.Response(200, json={"access_token": "t"})
        asked += 1
        assert asked < 5
        return httpx.Response(200, json={"content": [{"id": 1}], "number": 0})

    api = RosDomofonAPI(OperatorSettings(base_url="https://rest.example", username="u"))
    api._rest._http = httpx.AsyncClient(base_url="https://rest.example", transport=httpx.MockTransport(answer))
    async with api:
        with pytest.raises(DeliveryUnavailable, match="page 1"):
            _ = [service async for service in api.get_services()]


async def test_two_starts_at_once_make_one_consumer(monkeypatch: pytest.MonkeyPatch) -> None:
    started = 0

    class Reader:
        def __init__(self, settings: RosDomofonKafkaSettings) -> None: ...

        async def start(self) -> None:
            nonlocal started
            started += 1
            await asyncio.sleep(0)

        async def batch(self) -> Any:
            await asyncio.Event().wait()

        async def stop(self) -> None: ...

    monkeypatch.setattr(kafka_client, "GroupReader", Reader)
    async with RosDomofonKafka(RosDomofonKafkaSettings(companies=("A",), group_id="g")) as kafka:
        kafka.set_message_handler(print)
        results = await asyncio.gather(kafka.start(), kafka.start(), return_exceptions=True)
    assert started == 1
    assert [type(result) for result in results] == [type(None), BrokenSetup]


@pytest.mark.parametrize("edit", ["[]", '{"message": "\\ud800"}', '{"message": 1e999}', '{"message": NaN}'])
async def test_an_edit_that_no_record_can_hold_is_refused_before_anything_is_sent(edit: str) -> None:
    unused: Any = None
    with pytest.raises(InvalidInput):
        await take_over(unused, [], edit)
