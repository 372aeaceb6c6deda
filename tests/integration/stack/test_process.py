"""Processes bound to ours: their logs and exit codes, how they are stopped, and that they leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kounter.embedded import process
from kounter.embedded.process import Child
from tests.support.processes import DEAF, FOREVER, GRANDCHILD, NOTED, Pids, python, runs
from tests.support.waiting import wait_until


@pytest.mark.parametrize(("code", "expected"), [("", 0), ("exit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)])
def test_exit_code(log: Path, code: str, expected: int) -> None:
    child = Child("child", python(code), log)
    wait_until(lambda: child.poll() is not None)
    assert child.poll() == expected
    assert child.stop() == expected


def test_output_goes_to_the_log(log: Path) -> None:
    child = Child("child", python("import sys; print('out'); print('err', file=sys.stderr)"), log)
    wait_until(lambda: child.poll() is not None)
    assert set(child.tail().splitlines()) == {"out", "err"}
    child.stop()


def test_a_big_log_is_put_aside_and_one_is_kept(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOG_BYTES", 10)
    log.parent.mkdir()
    log.write_text("x" * 11)
    child = Child("child", python("print('new')"), log)
    wait_until(lambda: child.poll() is not None)
    child.stop()
    assert log.read_text() == "new\n"
    assert log.with_suffix(".log.1").read_text() == "x" * 11


def test_a_log_that_grows_too_big_is_put_aside_while_it_is_written(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOG_BYTES", 10)
    log.parent.mkdir()
    with log.open("ab", buffering=0) as output:
        output.write(b"x" * 11)
        process.rotate(log)
        output.write(b"new")
        process.rotate(log)
    assert log.read_bytes() == b"new"
    assert log.with_suffix(".log.1").read_bytes() == b"x" * 11


def test_stop_lets_it_clean_up(log: Path, pids: Pids) -> None:
    code = "import signal; signal.signal(signal.SIGTERM, lambda *_: exit(5));" + NOTED + "signal.pause()"
    child = Child("child", python(code, pids.path), log)
    pids.wait()
    assert child.stop() == 5


def test_stop_kills_what_does_not_listen(log: Path, pids: Pids) -> None:
    child = Child("child", python(DEAF + NOTED + FOREVER, pids.path), log)
    pids.wait()
    child.stop(grace=0.3)
    assert child.poll() == -signal.SIGKILL, "it takes no SIGTERM"


def test_kill_takes_the_grandchildren_too(log: Path, pids: Pids) -> None:
    child = Child("child", python(NOTED + GRANDCHILD + FOREVER, pids.path, NOTED + FOREVER), log)
    both = pids.wait(2)
    child.kill()
    wait_until(lambda: not any(map(runs, both)))


def test_a_process_that_ends_leaves_no_grandchildren(log: Path, pids: Pids) -> None:
    child = Child("child", python(GRANDCHILD + NOTED, pids.path, DEAF + NOTED + FOREVER), log)
    wait_until(lambda: child.poll() is not None)
    assert child.stop() == 0
    wait_until(lambda: not any(map(runs, pids.all())))


def test_kill_9_of_the_parent_leaves_nothing(log: Path, pids: Pids) -> None:
    """What ignores SIGTERM, here the grandchild, goes too. (A deaf child: tests/integration/stack/test_embedded.py.)"""
    code = NOTED + GRANDCHILD + FOREVER
    parent = subprocess.Popen(
        python(
            "import sys,time; from pathlib import Path; from kounter.embedded.process import Child\n"
            "child = Child('child', sys.argv[2:], Path(sys.argv[1])); time.sleep(600)",
            log,
            *python(code, pids.path, DEAF + NOTED + FOREVER),
        )
    )
    both = pids.wait(2)
    assert all(map(runs, both))
    parent.kill()
    parent.wait()
    wait_until(lambda: not any(map(runs, both)))


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux tells a process of its parent's end")
def test_kill_9_of_the_guard_ends_the_process(log: Path, pids: Pids) -> None:
    child = Child("child", python(NOTED + FOREVER, pids.path), log)
    (pid,) = pids.wait()
    os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: not runs(pid))
    child.stop()
