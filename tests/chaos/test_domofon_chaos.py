"""The short form of ``python -m tests.chaos.domofon``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.chaos.domofon import Course


@pytest.mark.chaos
@pytest.mark.timeout(300)
async def test_each_message_is_acknowledged_once_whatever_dies(stack: Any, tmp_path: Path) -> None:
    lines: list[str] = []
    result = await Course(stack, tmp_path, 300, 4, 2, lines.append).run()
    assert (result.messages, result.kills, result.bad) == (300, 4, False), (result, lines)
