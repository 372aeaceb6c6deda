"""Commands are imported when they are called, and their texts are the same before and after."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kounter import commands
from kounter.cli import app
from kounter.lazy_group import PLACES, help_of, load_command

HEAVY = {"faust", "aiokafka", "fastapi", "uvicorn", "aiohttp", "httpx", "websockets"}


@pytest.mark.parametrize("arguments", [["--help"], ["status"], ["settings"]])
def test_what_reads_no_topic_loads_no_client(arguments: list[str], tmp_path: Path) -> None:
    code = "import sys, kounter.cli\ntry:\n kounter.cli.main()\nfinally:\n print(*sys.modules, file=sys.stderr)"
    env = {"KOUNTER_DATA_DIR": str(tmp_path), "PATH": ""}
    ran = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=env, check=False)
    assert "kounter.settings" in ran.stderr.split()
    assert not HEAVY & set(ran.stderr.split())


@pytest.mark.parametrize("name", PLACES)
def test_the_text_of_the_source_is_that_of_the_command(name: str) -> None:
    """Line ends apart, which Typer and Markdown take for spaces."""
    assert help_of(name).split() == (load_command(name).help or "").split() != []


def test_every_module_has_its_command() -> None:
    root = Path(commands.__path__[0])
    files = {".".join(path.relative_to(root).with_suffix("").parts) for path in root.rglob("*.py")}
    modules = {file for file in files if not file.endswith("__init__")} - {"repair.passing"}
    assert modules == {place.module for place in PLACES.values()}


@pytest.mark.parametrize("arguments", [["watch"], ["nest"], ["feed", "brusnika"], ["rosdomofon", "bridge"]])
def test_a_name_of_before_works_and_is_not_shown(arguments: list[str]) -> None:
    runner = CliRunner()
    *group, name = arguments
    shown = runner.invoke(app, [*group, "--help"]).output
    assert f" {name} " not in "\n".join(line for line in shown.splitlines() if line.startswith("│"))
    assert "kounter source" in runner.invoke(app, [*arguments, "--help"]).output
