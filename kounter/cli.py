"""The command line: every command is a module of `kounter.commands`."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer
from rich.console import Console

from kounter.commands import (
    dead_letters,
    demo,
    gateway,
    lag,
    replay,
    schemas,
    settings,
    state,
    status,
    timeline,
    topics,
    up,
    worker,
)
from schemas.errors import KounterError

app = typer.Typer(
    help="Kounter keeps one true, replayable history of what happened in a company's systems.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
RUN, READ = "Run", "Read"
PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    RUN: (demo.demo, up.up, worker.worker, gateway.gateway),
    READ: (status.status, lag.lag, state.state, timeline.timeline, replay.replay, settings.settings),
}
for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.add_typer(topics.app, name="topics", rich_help_panel=READ)
app.add_typer(dead_letters.app, name="dead-letters", rich_help_panel=READ)
app.add_typer(schemas.app, name="schemas", rich_help_panel=READ)


def main() -> None:
    """Run; an error of ours is one line and its hint, never a traceback."""
    try:
        app()
    except KounterError as error:
        console = Console(stderr=True, highlight=False)
        console.print(f"[red]{error.message}[/]\n{error.hint}")
        sys.exit(1)
