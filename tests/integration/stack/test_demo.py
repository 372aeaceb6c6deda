"""``kounter demo --once`` as a newcomer runs it: a stack of its own, a worker killed, all of it compared; and as one
runs it who has a Kounter running already."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration


@pytest.fixture
def taken() -> Iterator[None]:
    """The ports on which another Kounter listens, gateway and webhook; if one runs here, they are taken anyway."""
    with ExitStack() as held:
        for port in (7070, 7190):
            with suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
        yield


@pytest.mark.usefixtures("taken")
def test_nothing_is_lost_nothing_doubled_and_one_json_object_says_so(tmp_path: Path) -> None:
    environment = {**os.environ, "KOUNTER_DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "kounter", "demo", "--once"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["lost"], result["doubled"]) == (0, 0)
    assert result["records_in"] > 1_000
    assert result["folded"] >= result["records_in"] * 0.9  # duplicates and what is late change nothing
    assert result["delivered"] > 500
