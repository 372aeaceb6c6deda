"""A supervised process is started again, until it is stopped or ends for good."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from loguru import logger

from kounter.embedded import process
from kounter.embedded.process import Child, Supervisor, next_wait
from tests.support.processes import FOREVER, NOTED, Pids, python
from tests.support.waiting import wait_until


def test_supervisor_starts_it_again_and_stop_ends_it_for_good(
    log: Path, pids: Pids, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Supervisor, "FIRST_S", 0.05)
    supervisor = Supervisor("child", python(NOTED + FOREVER, pids.path), log)
    for count in (1, 2):
        os.kill(pids.wait(count)[-1], signal.SIGKILL)
    pids.wait(3)
    wait_until(lambda: supervisor.restarts == 2)
    assert supervisor.exit_code is None
    supervisor.stop()
    assert supervisor.exit_code is not None
    wait_until(lambda: not supervisor._thread.is_alive())
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
    wait_until(lambda: bool(told))
    supervisor.stop()
    assert told == [supervisor.pid] != [first.pid]


def test_supervisor_takes_a_final_code_as_the_end(log: Path, pids: Pids) -> None:
    supervisor = Supervisor("child", python(NOTED + "exit(64)", pids.path), log)
    wait_until(lambda: supervisor.exit_code is not None)
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
    wait_until(lambda: bool(told))
    os.kill(pids.wait(2)[1], signal.SIGKILL)
    wait_until(lambda: len(told) == 2)
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
        wait_until(lambda: len(refused) > 1)
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
        wait_until(lambda: len(refused) > 4)
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
        wait_until(lambda: bool(supervisor.waits_for))
        time.sleep(1.0)  # twice the first wait between starts
        assert len(pids.all()) == 1
        assert [line for line in said if f"kafka-1 ended with 1: the disk is full at {log.parent}" in line] == said
        full[0] = False
        pids.wait(2)
        assert supervisor.waits_for == ""
    finally:
        supervisor.stop()
        logger.remove(told)


def test_one_that_waits_for_space_can_be_stopped(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "shortage", lambda folder: "the disk is full")
    monkeypatch.setattr(process, "SPACE_LOOK_S", 3_600.0)  # a stop that waited for the next look would not end
    supervisor = Supervisor("kafka-1", python("exit(1)"), log)
    wait_until(lambda: bool(supervisor.waits_for))
    supervisor.stop()
