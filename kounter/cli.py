"""The command line: every command is a module of `kounter.commands`."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from kounter.commands import settings, status, up, worker
from schemas.errors import KounterError

app = typer.Typer(
    help="Kounter keeps one true, replayable history of what happened in a company's systems.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(up.up)
app.command()(status.status)
app.command()(worker.worker)
app.command()(settings.settings)


def main() -> None:
    """Run; an error of ours is one line and its hint, never a traceback."""
    try:
        app()
    except KounterError as error:
        console = Console(stderr=True, highlight=False)
        console.print(f"[red]{error.message}[/]\n{error.hint}")
        sys.exit(1)
