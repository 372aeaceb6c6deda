"""``kounter up``: everything on this machine, until Ctrl-C."""

from __future__ import annotations

import signal
import threading
from typing import Annotated, Final

import typer

from kounter.commands.settings import show
from kounter.embedded.disk import shortage
from kounter.process.start import start_all
from kounter.process.supervisor import Services
from kounter.settings import load
from kounter.terminal import screen, shown
from schemas.errors import InvalidInput

console = screen()
EXIT_INTERRUPTED: Final = 130


def up(
    twins: Annotated[bool, typer.Option(help="Also the twins, for the systems that are not set.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes of each domain.")] = None,
    only: Annotated[
        str | None, typer.Option(metavar="kafka,registry", help="These alone, such as for `kounter rebuild`.")
    ] = None,
) -> None:
    """Start Kafka and registry (unless others are set), workers, gateway, and the deliveries and sources of all systems
    that are set.

    Prints one line per service; their logs are files. Ctrl-C stops all; no process stays, not even after a kill -9.
    """
    if only is not None and sorted(only.replace(" ", "").split(",")) != ["kafka", "registry"]:
        raise InvalidInput("only", "kafka,registry, which need each other", only)
    settings = load()
    ended, started = threading.Event(), threading.Event()

    def end(signum: int, _: object) -> None:
        """While services start, give up waiting; once all run, the loop below reads the event."""
        if not ended.is_set() and not started.is_set():
            ended.set()
            raise KeyboardInterrupt
        ended.set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, end)
    try:
        with Services(settings, say) as services:
            if only is None:
                _start_rest(services, twins, workers or settings.workers)
            started.set()
            console.print(f"\nlogs: {settings.data_dir / 'logs'}    Ctrl-C stops all")
            _watch(services, ended)
            console.print("stopping")
    except KeyboardInterrupt:
        console.print("stopped before all had started")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _start_rest(services: Services, twins: bool, workers: int) -> None:
    """Start all that works on Kafka and registry."""
    start_all(services, twins=twins, workers=workers)


def _watch(services: Services, ended: threading.Event) -> None:
    """Wait for the order to stop; report once of each service that it has ended for good."""
    reported: set[str] = set()
    full = False
    while not ended.wait(0.5):
        lack = shortage(services.settings.data_dir)
        if bool(lack) != full:
            full = bool(lack)
            console.print(f"[red]{shown(lack)}[/]" if lack else "[green]there is space on the disk again[/]")
        for name, code, log in services.failed():
            if name not in reported:
                reported.add(name)
                console.print(f"[red]{name} ended for good with {code}[/], see {log}")


def say(name: str, address: str) -> None:
    """Print that a service is ready."""
    console.print(f"[green]✓[/] {name:<18} {show(address)}", highlight=False)
