"""``python -m bench.estate``: all benchmarks of the estate domain, one after the other, each a process of its own.

Each prints its results and their limits as JSON in its last line.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from bench.estate.report import Part, as_json, markdown
from bench.report import machine

PARTS: Final = ("estate_feed", "feed", "estate_log", "catalogue")


def main(quick: Annotated[bool, typer.Option(help="Small amounts; nothing is written.")] = False) -> None:
    """Run the parts, print all results, and write ``RESULTS.md`` and ``results.json``. Exits with 1 if a limit of any
    part is exceeded."""
    parts = []
    for name in PARTS:
        if importlib.util.find_spec(f"bench.{name}") is None:
            print(f"bench.{name} is not there: left out")
        else:
            parts.append(run(name, quick))
    described = machine()
    print(text := markdown(parts, described))
    print(json.dumps(as_json(parts, described)))
    if not quick:
        folder = Path(__file__).parent
        (folder / "RESULTS.md").write_text(text, "utf-8")
        (folder / "results.json").write_text(json.dumps(as_json(parts, described), indent=1) + "\n", "utf-8")
    raise typer.Exit(any(part.code for part in parts))


def run(name: str, quick: bool) -> Part:
    """Returns the results of one benchmark, whose output is shown while it comes."""
    command = [sys.executable, "-m", f"bench.{name}", *(["--quick"] if quick else [])]
    last = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line
    found: dict[str, Any] = {}
    try:
        found = json.loads(last)
        return Part(name, process.returncode, found[name], found.get("limits", {}))
    except (ValueError, KeyError, TypeError):  # it ended before its results
        return Part(name, process.returncode or 1, {}, {})


if __name__ == "__main__":
    typer.run(main)
