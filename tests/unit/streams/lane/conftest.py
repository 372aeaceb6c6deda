"""Fixtures of the lane's tests."""

from __future__ import annotations

import pytest

from tests.unit.streams.lane.table import Table, new_table


@pytest.fixture
async def table() -> Table:
    return await new_table()
