"""``kounter parked park``: which stalled commands a name means, and what is ordered."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from typer.testing import CliRunner

from kounter.commands.repair import parked
from kounter.parked import Placed
from kounter.stalled import Stalled
from schemas.parking import ParkedAction

STALLED = [
    Stalled("bitrix.commands", 3, 70, "l-1", "c-9"),
    Stalled("bitrix.commands", 4, 8, "l-2", "c-5"),
    Stalled("bitrix.commands", 4, 9, "l-3", None),
]


@pytest.fixture
def ordered(monkeypatch: pytest.MonkeyPatch) -> list[Placed]:
    sent: list[Placed] = []

    @asynccontextmanager
    async def reader() -> AsyncIterator[None]:
        yield None

    async def stalled(reader: Any, group: str, topic: str) -> list[Stalled]:
        assert (group, topic) == ("delivery-bitrix24", "bitrix.commands")
        return STALLED

    async def send(reader: Any, orders: list[Placed]) -> None:
        sent.extend(orders)

    monkeypatch.setattr(parked, "open_reader", reader)
    monkeypatch.setattr(parked, "read_stalled", stalled)
    monkeypatch.setattr(parked, "_send", send)
    return sent


@pytest.mark.parametrize(("name", "place"), [("l-1", (3, 70)), ("c-5", (4, 8)), ("l-3", (4, 9))])
def test_a_key_or_a_command_id_names_it(name: str, place: tuple[int, int], ordered: list[Placed]) -> None:
    result = CliRunner().invoke(parked.app, ["park", "bitrix24", name])
    assert result.exit_code == 0, result.output
    ((topic, partition, order),) = ordered
    assert (topic, partition, order.action, order.offsets) == (
        "bitrix.commands", place[0], ParkedAction.PARK, place[1:]
    )  # fmt: skip
    assert order.by


def test_a_name_that_fits_none_orders_nothing_and_shows_what_is_stalled(ordered: list[Placed]) -> None:
    result = CliRunner().invoke(parked.app, ["park", "bitrix24", "l-9"])
    assert (result.exit_code, ordered) == (1, [])
    assert "l-1 (c-9), l-2 (c-5), l-3 (an order)" in " ".join(result.output.split())
    asked = CliRunner().invoke(parked.app, ["park", "bitrix24", "l-9", "--json"])
    assert [one["key"] for one in json.loads(asked.stdout)["stalled"]] == ["l-1", "l-2", "l-3"]


def test_a_system_that_there_is_not(ordered: list[Placed]) -> None:
    result = CliRunner().invoke(parked.app, ["park", "bitrix25", "l-1"])
    assert result.exit_code == 2
    assert "'bitrix24', 'rosdomofon'" in " ".join(result.output.split())
