"""A full disk is named, and nothing is started on it in vain."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from kounter.cli import app
from kounter.embedded.disk import shortage
from kounter.embedded.runfile import RunFile
from kounter.process.supervisor import Services
from kounter.settings import Settings, load

PLENTY = {"f_bavail": 1 << 20, "f_frsize": 4096, "f_files": 1_000, "f_favail": 900}


def disk(monkeypatch: pytest.MonkeyPatch, **counts: int) -> None:
    monkeypatch.setattr(os, "statvfs", lambda folder: SimpleNamespace(**{**PLENTY, **counts}))


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({}, None),
        ({"f_bavail": 256}, "1 MB are free, 64 MB are needed"),
        ({"f_bavail": 0}, "0 MB are free"),
        ({"f_favail": 3}, "it takes 3 more files"),
        ({"f_files": 0, "f_favail": 0}, None),
    ],
)
def test_what_is_said_of_a_disk(monkeypatch: pytest.MonkeyPatch, counts: dict[str, int], said: str | None) -> None:
    disk(monkeypatch, **counts)
    found = shortage(Path("/somewhere"))
    assert found is None if said is None else found is not None and said in found and "/somewhere" in found


def test_a_folder_that_is_not_there_is_not_full(tmp_path: Path) -> None:
    assert shortage(tmp_path / "nowhere") is None


def test_status_names_the_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KOUNTER_DATA_DIR", str(tmp_path))
    load.cache_clear()
    RunFile(tmp_path).add("worker-estate-0")
    disk(monkeypatch, f_bavail=0)
    try:
        told = CliRunner().invoke(app, ["status"])
        by_program = CliRunner().invoke(app, ["status", "--json"])
    finally:
        load.cache_clear()
    assert told.exit_code == 1
    assert "disk is full" in " ".join(told.output.split())
    assert "disk is full" in json.loads(by_program.stdout)["disk_full"]


def test_on_a_full_disk_all_are_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    services, stopped = Services(Settings(data_dir=tmp_path), lambda name, address: None), list[str]()

    def no_space(name: str) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(services.run, "remove", no_space)
    for name in ("first", "second"):
        services._running[name] = SimpleNamespace(stop=lambda name=name: stopped.append(name))  # type: ignore[assignment]
    services.__exit__()
    assert sorted(stopped) == ["first", "second"]
