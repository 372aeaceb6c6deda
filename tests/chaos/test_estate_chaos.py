"""The short form of ``python -m tests.chaos.estate``."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.estate import FAULTS, Course, company


@pytest.mark.chaos
@pytest.mark.timeout(300)
async def test_clients_see_each_change_once_whatever_dies(stack: Any, tmp_path: Path) -> None:
    lines: list[str] = []
    rows = company(tmp_path.name, 15, 30, 4, random.Random(1))
    result = await Course(stack, tmp_path, rows, tmp_path.name, FAULTS, lines.append).run()
    assert (result.changes, result.faults, result.bad) == (len(rows), len(FAULTS), False), (result, lines)
