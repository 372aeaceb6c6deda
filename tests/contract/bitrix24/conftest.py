"""Fixtures of the Bitrix24 contract tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from adapters.bitrix24.cards import Bitrix24Cards
from adapters.bitrix24.twin.server import Bitrix24Twin
from tests.support.systems.bitrix24 import ORIGINATOR, client_of, plain


@pytest.fixture
async def twin() -> AsyncIterator[Bitrix24Twin]:
    """A Bitrix24 twin without limits."""
    async with Bitrix24Twin() as running:
        yield running


@pytest.fixture
async def http(twin: Bitrix24Twin) -> AsyncIterator[httpx.AsyncClient]:
    """Bare HTTP below its webhook."""
    async with plain(twin) as client:
        yield client


@pytest.fixture(params=["lead", "item"])
def api(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def cards(twin: Bitrix24Twin, api: str) -> AsyncIterator[Bitrix24Cards]:
    async with client_of(twin, timeout_s=0.3, api=api) as client:
        cards = Bitrix24Cards(client, ORIGINATOR)
        await cards._stages.all()  # known already
        twin._app.requests.clear()
        yield cards
