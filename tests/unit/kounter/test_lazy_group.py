"""Commands are imported when they are called, and their texts are the same before and after."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kounter import commands
from kounter.lazy_group import PANELS, help_of, load_command

HEAVY = {"faust", "aiokafka", "fastapi", "uvicorn", "aiohttp", "httpx", "websockets"}
NAMES = [name for names in PANELS.values() for name in names]


@pytest.mark.parametrize("arguments", [["--help"], ["status"], ["settings"]])
def test_what_reads_no_topic_loads_no_client(arguments: list[str], tmp_path: Path) -> None:
    code = "import sys, kounter.cli\ntry:\n kounter.cli.main()\nfinally:\n print(*sys.modules, file=sys.stderr)"
    env = {"KOUNTER_DATA_DIR": str(tmp_path), "PATH": ""}
    ran = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=env, check=False)
    assert "kounter.settings" in ran.stderr.split()
    assert not HEAVY & set(ran.stderr.split())


@pytest.mark.parametrize("name", NAMES)
def test_the_text_of_the_source_is_that_of_the_command(name: str) -> None:
    """Line ends apart, which Typer and Markdown take for spaces."""
    assert help_of(name).split() == (load_command(name).help or "").split() != []


def test_every_module_has_its_command() -> None:
    modules = {path.stem for path in Path(commands.__path__[0]).glob("*.py")} - {"__init__", "passing"}
    assert modules == {name.replace("-", "_") for name in NAMES}
