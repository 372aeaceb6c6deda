"""The run file tells only of what runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from kounter.embedded.runfile import RunFile


def ended_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_service_that_runs_is_found(tmp_path: Path) -> None:
    run = RunFile(tmp_path)
    run.add("gateway", "http://127.0.0.1:8080", tmp_path / "gateway.log")
    service = run.get("gateway")
    assert service is not None
    assert (service.pid, service.address) == (os.getpid(), "http://127.0.0.1:8080")
    assert service.log == str(tmp_path / "gateway.log")


def test_services_come_in_the_order_of_their_start_and_the_same_name_replaces(tmp_path: Path) -> None:
    run = RunFile(tmp_path)
    for name, address in (("kafka", "a:1"), ("registry", "a:2"), ("kafka", "a:3")):
        run.add(name, address)
    assert [(s.name, s.address) for s in run.read()] == [("registry", "a:2"), ("kafka", "a:3")]


def test_a_dead_service_is_not_told_of(tmp_path: Path) -> None:
    run = RunFile(tmp_path)
    run.add("kafka", pid=ended_pid())
    assert run.read() == []


def test_a_pid_that_is_another_process_by_now_is_not_told_of(tmp_path: Path) -> None:
    run = RunFile(tmp_path)
    run.add("kafka")
    file = tmp_path / "run.json"
    entry = json.loads(file.read_text("utf-8"))[0]
    other = {"started_at": entry["started_at"] - 3_600, "started_after": entry["started_after"] - 3_600}
    file.write_text(json.dumps([entry | other]), "utf-8")
    assert run.get("kafka") is None


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel notes a start by the clock")
def test_a_clock_that_is_set_ends_no_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFile(tmp_path)
    run.add("kafka")
    before = psutil.boot_time()
    for module in (psutil, psutil._pslinux):
        monkeypatch.setattr(module, "boot_time", lambda: before + 90)
    assert run.get("kafka") is not None


def test_a_removed_service_is_gone_and_the_others_stay(tmp_path: Path) -> None:
    run = RunFile(tmp_path)
    run.add("kafka")
    run.add("registry")
    run.remove("kafka")
    run.remove("never there")
    assert [service.name for service in run.read()] == ["registry"]


@pytest.mark.parametrize("text", ["", "{", "null", "7", '["kafka"]', '[{"name": "kafka"}]', '[{"other": 1}]'])
def test_a_broken_file_is_as_none_and_is_mended_by_the_next_service(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text, "utf-8")
    run = RunFile(tmp_path)
    assert run.read() == []
    run.add("kafka")
    assert run.get("kafka") is not None


def test_services_that_start_at_once_are_all_kept(tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from kounter.embedded.runfile import RunFile\n"
    script += "RunFile(Path(sys.argv[1])).add(sys.argv[2]); print(flush=True); sys.stdin.read()"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), f"worker-{n}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for n in range(4)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        assert {s.name for s in RunFile(tmp_path).read()} == {f"worker-{n}" for n in range(4)}
    finally:
        for process in processes:
            process.communicate()
