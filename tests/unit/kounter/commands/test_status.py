"""What should run and does not is shown, with how often it ended and why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from kounter.cli import app
from kounter.commands import status as command
from kounter.embedded.process import Supervisor
from kounter.embedded.process_state import FLAPPING_S, Keeping, kept_in, telling
from kounter.embedded.runfile import RunFile
from kounter.settings import load
from tests.support.waiting import wait_until


@pytest.fixture(autouse=True)
def data_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setenv("KOUNTER_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("KOUNTER_KAFKA__BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.delenv("KOUNTER_REGISTRY__URL", raising=False)
    load.cache_clear()
    (tmp_path / "logs").mkdir()
    yield tmp_path
    load.cache_clear()


def status(*options: str) -> Result:
    return CliRunner().invoke(app, ["status", *options])


def test_a_service_that_ends_again_and_again_is_shown(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was missing from the list, and the exit code was 0."""
    monkeypatch.setattr(Supervisor, "FIRST_S", 0.02)
    monkeypatch.setattr(Supervisor, "LONGEST_S", 0.02)
    RunFile(data_dir).add("gateway")
    code = "print('so far so good'); raise RuntimeError('codec lz4 is missing')"
    log = data_dir / "logs" / "worker-estate-0.log"
    supervisor = Supervisor("worker-estate-0", [sys.executable, "-c", code], log)
    try:
        wait_until(lambda: supervisor.restarts >= 2)
        said, found = status(), status("--json")
    finally:
        supervisor.stop()
    assert (said.exit_code, found.exit_code) == (1, 1)
    assert "worker-estate-0" in said.stderr
    assert "restarting" in said.stdout
    assert "with exit code 1" in said.stdout
    assert "RuntimeError: codec lz4 is missing" in said.stdout
    worker = json.loads(found.stdout)["services"]["worker-estate-0"]
    assert (worker["state"], worker["exit_code"]) == ("restarting", 1)
    assert worker["ends"] >= 2
    assert status().exit_code == 0  # it shall not run any more


def test_one_that_ended_for_good_stays_in_the_list(data_dir: Path) -> None:
    log = data_dir / "logs" / "worker-crm-0.log"
    supervisor = Supervisor("worker-crm-0", [sys.executable, "-c", "print('KOUNTER_X is wrong'); exit(64)"], log)
    wait_until(lambda: supervisor.exit_code is not None and bool(kept_in(data_dir / "logs")[0].error))
    said = status()
    supervisor.stop()
    assert said.exit_code == 1
    assert "ended once" in said.stdout
    assert "exit code 64, not started again: KOUNTER_X is wrong" in said.stdout


def test_one_that_is_not_ready_yet_counts_as_not_running(data_dir: Path) -> None:
    Keeping(data_dir / "logs" / "gateway.log").runs()
    assert (status().exit_code, "starting" in status().stdout) == (1, True)
    RunFile(data_dir).add("gateway")
    assert (status().exit_code, "starting" in status().stdout) == (0, False)


def test_one_that_was_started_again_once_and_is_ready_runs(data_dir: Path) -> None:
    keeping = Keeping(data_dir / "logs" / "gateway.log")
    keeping.ended(137, "killed", 0.5)
    keeping.runs()
    RunFile(data_dir).add("gateway")
    said = status()
    assert (said.exit_code, "ended once" in said.stdout) == (0, True)
    keeping.ended(137, "killed", 0.5)
    keeping.runs()
    assert status().exit_code == 1
    (kept,) = kept_in(data_dir / "logs")
    long_ago = kept._replace(ends=[[at - FLAPPING_S, code] for at, code in kept.ends])
    assert long_ago.state(is_ready=True) == "running"


def test_a_supervisor_that_is_gone_says_nothing(data_dir: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    keeping = Keeping(data_dir / "logs" / "gateway.log")
    keeping.ended(1, "x", 9.0)
    file = data_dir / "logs" / "gateway.kept.json"
    kept = json.loads(file.read_text("utf-8"))
    assert kept["keeper"] == os.getpid()
    file.write_text(json.dumps(kept | {"keeper": process.pid}), "utf-8")
    assert kept_in(data_dir / "logs") == []
    file.write_text("{", "utf-8")
    assert kept_in(data_dir / "logs") == []
    nothing = status("--json")
    assert nothing.exit_code == 1
    assert "nothing runs" in nothing.stderr


def test_no_secret_of_a_log_is_shown(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOUNTER_BITRIX24__WEBHOOK_URL", "https://portal.example/rest/1/s3cret/")
    keeping = Keeping(data_dir / "logs" / "delivery-bitrix24.log")
    keeping.ended(1, "ValueError: https://portal.example/rest/1/s3cret/crm.lead.add", 9.0)
    for options in ([], ["--json"]):
        said = status(*options)
        assert "crm.lead.add" in said.stdout
        assert "s3cret" not in said.stdout


@pytest.mark.parametrize(
    ("tail", "line"),
    [
        ("", ""),
        ("a\n\nb\n", "b"),
        ("2026 ERROR    x it broke\n2026 INFO     x ends\n", "2026 ERROR    x it broke"),
        ("Traceback:\n  File\nkounter.X.SomeError: so\n", "kounter.X.SomeError: so"),
        ("E" * 999, "E" * 300),
    ],
)
def test_the_line_that_tells_most(tail: str, line: str) -> None:
    assert telling(tail) == line


def test_a_full_disk_does_not_end_the_supervisor(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    Keeping(data_dir / "logs" / "gateway.log").runs()


def test_alarms_are_named_and_change_no_exit_code(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RunFile(data_dir).add("gateway")
    before = status().exit_code
    monkeypatch.setattr(command, "_trouble", lambda: ([], [], ["backend: 2 changes wait"]))
    said, found = status(), status("--json")
    assert "backend: 2 changes wait" in said.stderr
    assert json.loads(found.stdout)["alarms"] == ["backend: 2 changes wait"]
    assert said.exit_code == before
