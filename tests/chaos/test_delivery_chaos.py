"""The short form of ``python -m tests.chaos.delivery``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.chaos.delivery import run


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_each_card_is_made_once_whatever_dies_and_fails(stack: Any, tmp_path: Path) -> None:
    lines: list[str] = []
    result = await run(stack, tmp_path, 200, 3, 5, lines.append)
    report = "\n".join([str(result), *lines, *(tmp_path / "delivery.log").read_text("utf-8").splitlines()[-50:]])
    assert (result.cards, result.kills, result.bad) == (200, 3, False), report
