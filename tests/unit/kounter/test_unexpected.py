"""An error that nobody expected: told in a line, its traceback in a file, no secret in either."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from kounter import cli, worker
from kounter.settings import load
from schemas.errors import InvalidInput

WEBHOOK = "https://portal.example/rest/1/s3cret/"


@pytest.fixture(autouse=True)
def data_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setenv("KOUNTER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("KOUNTER_BITRIX24__WEBHOOK_URL", WEBHOOK)
    load.cache_clear()
    yield tmp_path
    load.cache_clear()


def ended(monkeypatch: pytest.MonkeyPatch, error: Exception) -> object:
    def fail() -> NoReturn:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as exited:
        cli.main()
    return exited.value.code


def test_it_is_a_line_with_the_place_of_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data_dir: Path
) -> None:
    error = ZeroDivisionError(f"at {WEBHOOK}crm.lead.add, http://me:pa55@registry")
    assert ended(monkeypatch, error) == 1
    log = data_dir / "logs" / "crash.log"
    said, traceback = capsys.readouterr().err, log.read_text("utf-8")
    assert "ZeroDivisionError" in said
    assert str(log) in said
    assert "Traceback" not in said
    assert "in fail" in traceback
    assert log.stat().st_mode & 0o077 == 0
    for text in (said, traceback):
        assert "s3cret" not in text
        assert "pa55" not in text


def test_it_is_told_where_no_file_can_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data_dir: Path
) -> None:
    (data_dir / "logs").write_text("no folder", "utf-8")
    assert ended(monkeypatch, KeyError("x")) == 1
    assert "KeyError" in capsys.readouterr().err


def test_the_hint_of_a_wrong_argument_is_for_who_typed_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It said "Fix the named field at the sender and send the record again"."""
    assert ended(monkeypatch, InvalidInput("--as-of", "a time", "offset:10")) == 1
    said = capsys.readouterr().err
    assert "sender" not in said
    assert "--help" in said


@pytest.mark.parametrize(
    "command", ["lag", "schemas list", "up", "replay lead", "dead-letters ls", "twins", "settings"]
)
def test_a_wrong_level_is_told_by_every_command(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KOUNTER_LOG_LEVEL", "loud")
    monkeypatch.setattr(sys, "argv", ["kounter", *command.split()])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    assert exited.value.code == 64
    assert "KOUNTER_LOG_LEVEL: " in capsys.readouterr().err


def test_what_is_to_be_set_is_told_whatever_is_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The hint of a wrong setting names the command."""
    monkeypatch.setenv("KOUNTER_LOG_LEVEL", "loud")
    for command in ("settings --markdown", "lag --help"):
        monkeypatch.setattr(sys, "argv", ["kounter", *command.split()])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        assert exited.value.code == 0, capsys.readouterr().err


def test_a_worker_process_with_a_wrong_level_is_not_started_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KOUNTER_LOG_LEVEL", "loud")
    with pytest.raises(SystemExit) as exited:
        worker.main("estate", 0)
    assert exited.value.code == 64


def test_a_part_that_is_missing_is_told_in_two_lines() -> None:
    script = "import sys; sys.modules['uvicorn'] = None; from kounter.__main__ import run; run()"
    done = subprocess.run([sys.executable, "-c", script, "gateway"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "uvicorn" in done.stderr
    assert "Traceback" not in done.stderr
