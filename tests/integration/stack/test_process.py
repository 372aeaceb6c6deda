"""Processes bound to ours leave nothing behind, and a supervised one is started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from loguru import logger

from kounter.embedded import process
from kounter.embedded.process import Child, Supervisor, next_wait

FOREVER = "import time; time.sleep(600)"
NOTED = "import os,sys; open(sys.argv[1], 'a').write(f'{os.getpid()}\\n');"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
GRANDCHILD = "import subprocess,sys; subprocess.Popen([sys.executable, '-c', sys.argv[2], sys.argv[1]]);"


def until(happened: Callable[[], bool], timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def python(code: str, *args: object) -> list[str]:
    return [sys.executable, "-c", code, *map(str, args)]


class Pids:
    """Processes that wrote their pid into a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def wait(self, count: int = 1) -> list[int]:
        until(lambda: self.path.exists() and len(self.path.read_text().splitlines()) >= count)
        return self.all()

    def all(self) -> list[int]:
        return [int(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Pids]:
    """No test of this file leaves one of them behind."""
    noted = Pids(tmp_path / "pids")
    yield noted
    try:
        until(lambda: not any(map(runs, noted.all())))  # a killed one takes a moment
    finally:
        for pid in filter(runs, noted.all()):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "child.log"


@pytest.mark.parametrize(("code", "expected"), [("", 0), ("exit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)])
def test_exit_code(log: Path, code: str, expected: int) -> None:
    child = Child("child", python(code), log)
    until(lambda: child.poll() is not None)
    assert child.poll() == expected
    assert child.stop() == expected


def test_output_goes_to_the_log(log: Path) -> None:
    child = Child("child", python("import sys; print('out'); print('err', file=sys.stderr)"), log)
    until(lambda: child.poll() is not None)
    assert set(child.tail().splitlines()) == {"out", "err"}
    child.stop()


def test_a_big_log_is_put_aside_and_one_is_kept(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOG_BYTES", 10)
    log.parent.mkdir()
    log.write_text("x" * 11)
    child = Child("child", python("print('new')"), log)
    until(lambda: child.poll() is not None)
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
    started = time.monotonic()
    child.stop(grace=0.3)
    assert time.monotonic() - started < process.STOP_GRACE_S
    assert child.poll() is not None


def test_kill_takes_the_grandchildren_too(log: Path, pids: Pids) -> None:
    child = Child("child", python(NOTED + GRANDCHILD + FOREVER, pids.path, NOTED + FOREVER), log)
    both = pids.wait(2)
    child.kill()
    until(lambda: not any(map(runs, both)))


def test_a_process_that_ends_leaves_no_grandchildren(log: Path, pids: Pids) -> None:
    child = Child("child", python(GRANDCHILD + NOTED, pids.path, DEAF + NOTED + FOREVER), log)
    until(lambda: child.poll() is not None)
    assert child.stop() == 0
    until(lambda: not any(map(runs, pids.all())))


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
    until(lambda: not any(map(runs, both)))


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux tells a process of its parent's end")
def test_kill_9_of_the_guard_ends_the_process(log: Path, pids: Pids) -> None:
    child = Child("child", python(NOTED + FOREVER, pids.path), log)
    (pid,) = pids.wait()
    os.kill(child.pid, signal.SIGKILL)
    until(lambda: not runs(pid))
    child.stop()


def test_supervisor_starts_it_again_and_stop_ends_it_for_good(
    log: Path, pids: Pids, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Supervisor, "FIRST_S", 0.05)
    supervisor = Supervisor("child", python(NOTED + FOREVER, pids.path), log)
    for count in (1, 2):
        os.kill(pids.wait(count)[-1], signal.SIGKILL)
    pids.wait(3)
    until(lambda: supervisor.restarts == 2)
    assert supervisor.exit_code is None
    supervisor.stop()
    assert supervisor.exit_code is not None
    until(lambda: not supervisor._thread.is_alive())
    assert len(pids.all()) == 3


def test_supervisor_of_a_running_process_tells_of_each_that_takes_its_place(
    log: Path, pids: Pids, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Supervisor, "FIRST_S", 0.05)
    told: list[int] = []
    first = Child("child", python(NOTED + FOREVER, pids.path), log)
    supervisor = Supervisor.of(first, lambda child: told.append(child.pid))
    os.kill(pids.wait()[0], signal.SIGKILL)
    pids.wait(2)
    until(lambda: bool(told))
    supervisor.stop()
    assert told == [supervisor.pid] != [first.pid]


def test_supervisor_takes_a_final_code_as_the_end(log: Path, pids: Pids) -> None:
    supervisor = Supervisor("child", python(NOTED + "exit(64)", pids.path), log)
    until(lambda: supervisor.exit_code is not None)
    assert (supervisor.exit_code, supervisor.restarts) == (64, 0)
    supervisor.stop()
    assert len(pids.all()) == 1


def test_supervisor_starts_again_what_others_told_to_stop(
    log: Path, pids: Pids, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that somebody sent SIGTERM ended well, and took all others of its slot along, for good."""
    monkeypatch.setattr(Supervisor, "FIRST_S", 0.05)
    code = "import signal; signal.signal(signal.SIGTERM, lambda *_: exit(0));" + NOTED + "signal.pause()"
    supervisor = Supervisor("child", python(code, pids.path), log)
    os.kill(pids.wait()[0], signal.SIGTERM)
    pids.wait(2)
    assert supervisor.exit_code is None
    supervisor.stop()
    assert supervisor.exit_code == 0


def test_supervisor_tells_of_a_new_process_as_soon_as_that_can_be_noted(
    log: Path, pids: Pids, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a full disk it could not, and its thread ended: Kafka was never started again."""
    monkeypatch.setattr(Supervisor, "FIRST_S", 0.05)
    full, told = [True, True, True], list[int]()

    def note(child: Child) -> None:
        if full:
            full.pop()
            raise OSError("no space left on device")
        told.append(child.pid)

    supervisor = Supervisor.of(Child("child", python(NOTED + FOREVER, pids.path), log), note)
    os.kill(pids.wait()[0], signal.SIGKILL)
    until(lambda: bool(told))
    os.kill(pids.wait(2)[1], signal.SIGKILL)
    until(lambda: len(told) == 2)
    supervisor.stop()


def test_supervisor_keeps_no_file_open_for_those_that_ended(
    log: Path, pids: Pids, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Supervisor, "FIRST_S", 0.01)
    monkeypatch.setattr(Supervisor, "LONGEST_S", 0.01)
    before = psutil.Process().num_fds()
    supervisor = Supervisor("child", python(NOTED + "exit(1)", pids.path), log)
    pids.wait(4)
    supervisor.stop()
    assert psutil.Process().num_fds() <= before


def test_supervisor_survives_that_it_cannot_start_a_process(
    log: Path, pids: Pids, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Supervisor, "FIRST_S", 0.05)
    supervisor = Supervisor("child", python(NOTED + "exit(1)", pids.path), log)
    refused: list[str] = []

    def refuse(name: str, *_: object) -> None:
        refused.append(name)
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(process, "Child", refuse)
        until(lambda: len(refused) > 1)
    ran = len(pids.all())
    pids.wait(ran + 1)
    supervisor.stop()


def test_supervisor_keeps_no_file_open_for_those_that_could_not_be_started(
    log: Path, pids: Pids, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some minutes without memory all were used up, and nothing was ever started again."""
    monkeypatch.setattr(Supervisor, "FIRST_S", 0.01)
    monkeypatch.setattr(Supervisor, "LONGEST_S", 0.01)
    supervisor = Supervisor("child", python(NOTED + "exit(1)", pids.path), log)
    refused: list[object] = []

    def refuse(*_: object, **__: object) -> None:
        refused.append(psutil.Process().num_fds())
        raise BlockingIOError("resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", refuse)
        until(lambda: len(refused) > 4)
    supervisor.stop()
    assert refused[-1] == refused[1]


def test_waits_double_to_the_longest_and_begin_anew_after_a_healthy_run() -> None:
    waits = [0.0]
    for _ in range(7):
        waits.append(next_wait(waits[-1], ran_s=1))
    assert waits[1:] == [0.5, 1, 2, 4, 8, 15, 15]
    assert next_wait(15, ran_s=60) == 0.5


def test_on_a_full_disk_it_is_not_started_until_there_is_space(
    log: Path, pids: Pids, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, said = [True], list[str]()
    monkeypatch.setattr(process, "shortage", lambda folder: f"the disk is full at {folder}" if full[0] else None)
    monkeypatch.setattr(process, "SPACE_LOOK_S", 0.02)
    told = logger.add(lambda line: said.append(str(line)), level="WARNING", format="{message}")
    supervisor = Supervisor("kafka-1", python(NOTED + "exit(1)", pids.path), log)
    try:
        until(lambda: bool(supervisor.waits_for))
        time.sleep(1.0)  # twice the first wait between starts
        assert len(pids.all()) == 1
        assert [line for line in said if f"kafka-1 ended with 1: the disk is full at {log.parent}" in line] == said
        full[0] = False
        began = time.monotonic()
        pids.wait(2)
        assert time.monotonic() - began < 5
        assert supervisor.waits_for == ""
    finally:
        supervisor.stop()
        logger.remove(told)


def test_one_that_waits_for_space_can_be_stopped(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "shortage", lambda folder: "the disk is full")
    supervisor = Supervisor("kafka-1", python("exit(1)"), log)
    until(lambda: bool(supervisor.waits_for))
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 2
