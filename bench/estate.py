"""``python -m bench.estate``: all benchmarks of the estate domain, one after the other, each a process of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated, Final

import typer

PARTS: Final = ("catalogue", "estate_feed", "estate_log")


def main(quick: Annotated[bool, typer.Option(help="Small amounts; no limits.")] = False) -> None:
    """Run the parts; each prints its results. Exits with 1 if a limit of any is exceeded."""
    options = ["--quick"] if quick else []
    codes = [subprocess.run([sys.executable, "-m", f"bench.{part}", *options]).returncode for part in PARTS]
    raise typer.Exit(any(codes))


if __name__ == "__main__":
    typer.run(main)
