"""Fixtures of the gateway's contract tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tables.view import View
from tests.support.gateway import LocalReader, application, client, local_reader


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[tuple[LocalReader, View]]:
    with local_reader(tmp_path) as parts:
        yield parts


@pytest.fixture
def view(parts: tuple[LocalReader, View]) -> View:
    return parts[1]


@pytest.fixture
async def http(parts: tuple[LocalReader, View]) -> AsyncIterator[httpx.AsyncClient]:
    async with client(application(parts[0])) as http:
        yield http
