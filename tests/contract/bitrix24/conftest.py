"""Fixtures of the contract tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from adapters.bitrix24.twin.server import Bitrix24Twin
from tests.support.bitrix24 import plain


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
