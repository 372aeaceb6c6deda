"""Fixtures of the tests of processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import Pids, runs
from tests.support.waiting import wait_until


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Pids]:
    """No test of this file leaves one of them behind."""
    noted = Pids(tmp_path / "pids")
    yield noted
    try:
        wait_until(lambda: not any(map(runs, noted.all())))  # a killed one takes a moment
    finally:
        for pid in filter(runs, noted.all()):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "child.log"
