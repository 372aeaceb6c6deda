"""The processes of a stage end with it, also if it never gets ready."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.rosdomofon.settings import RosDomofonSettings
from tests.conftest import Stack
from tests.support import stage as module
from tests.support.stage import Stage


async def test_what_is_not_ready_in_time_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "START_S", 0.3)
    never = RosDomofonSettings(base_url="http://127.0.0.1:1")
    stage = Stage(Stack("127.0.0.1:1", "http://127.0.0.1:1"), tmp_path, ["C"], never)
    stage.parts = {"worker": ("http.server", "0"), "bridge": ("http.server", "0")}
    with pytest.raises(AssertionError, match="is not ready"):
        await stage.__aenter__()
    assert all(process.poll() is not None for process in stage.running.values())
