"""``kounter status``: the services that run, and those that should."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from urllib.parse import urlsplit

import typer

from kounter.commands.settings import show
from kounter.embedded.disk import shortage
from kounter.embedded.process_state import Kept, kept_in
from kounter.embedded.runfile import RunFile, Service
from kounter.settings import Settings, load
from kounter.terminal import grid, put, screen, shown
from kounter.unexpected import without_secrets
from schemas.errors import EXIT_BROKEN_SETUP

if TYPE_CHECKING:
    from streams.kafka.batches.headers import UnreadableBatch

COLOURS = {"running": "green", "starting": "yellow", "restarting": "red", "ended": "red"}


class Line(NamedTuple):
    """A service, from the run file and from its supervisor."""

    service: Service
    answers: bool | None
    """Whether something listens at its address; None if it has no address."""
    kept: Kept | None
    is_ready: bool

    @property
    def state(self) -> str:
        return "running" if self.kept is None else self.kept.state(is_ready=self.is_ready)

    @property
    def is_up(self) -> bool:
        return self.state == "running" and self.answers is not False

    @property
    def why(self) -> str:
        """Returns the history of its ends."""
        if self.kept is None or not self.kept.recent:
            return ""
        since = time.time() - self.kept.recent[0][0]
        ends, code = len(self.kept.recent), int(self.kept.recent[-1][1])
        times = "once" if ends == 1 else f"{ends} times"
        said = f"ended {times} in {_span(since)}, {'last ' if ends > 1 else ''}with exit code {code}"
        if self.kept.code is not None:
            said += ", not started again"
        elif self.kept.again_at is not None:
            said += f", starts again in {max(0.0, self.kept.again_at - time.time()):.0f} s"
        return f"{said}: {without_secrets(self.kept.error)}" if self.kept.error else said

    def as_dict(self) -> dict[str, Any]:
        service, kept = self.service, self.kept
        return {
            **service._asdict(),
            "address": show(service.address),
            "answers": self.answers,
            "state": self.state,
            "ends": 0 if kept is None else len(kept.recent),
            "exit_code": int(kept.recent[-1][1]) if kept and kept.recent else None,
            "error": without_secrets(kept.error) if kept and kept.recent else "",
        }


def status(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Print every service of this data folder: its address and process, whether it runs, and why it does not.

    Exits with 1 if nothing runs, if the disk of the data folder is full, or if a service that should run does not: it
    restarts repeatedly, has ended for good, is not ready yet, or does not answer. Exits with 64 if a partition stands
    at a batch that can't be unpacked, which is then named. Alarms, as of a feed that is refused, are named too.
    """
    settings = load()
    lines, full = look(settings), shortage(settings.data_dir)
    standing, unreadable, alarms = _trouble() if lines else ([], [], [])  # where nothing runs, there is no Kafka to ask
    if as_json:
        found = {line.service.name: line.as_dict() for line in lines}
        data = {"data_dir": str(settings.data_dir), "services": found, "disk_full": full}
        print(json.dumps(data | {"unreadable": unreadable, "alarms": alarms}))
    elif lines:
        _show(lines, settings)
    for batch in standing:
        screen(stderr=True).print(f"[red]{shown(batch.message)}[/] {shown(batch.hint)}", soft_wrap=True)
    for alarm in alarms:
        screen(stderr=True).print(f"[yellow]{shown(without_secrets(alarm))}[/]", soft_wrap=True)
    down = [line.service.name for line in lines if not line.is_up]
    if not lines:
        screen(stderr=True).print(f"nothing runs on {settings.data_dir}; start `kounter up`")
    elif down:
        screen(stderr=True).print(shown(f"not all that should run does: {', '.join(down)}"))
    if full:
        screen(stderr=True).print(f"[red]{shown(full)}[/]\nFree some space: what has ended is then started again.")
    if standing:
        raise typer.Exit(EXIT_BROKEN_SETUP)
    if full or down or not lines:
        raise typer.Exit(1)


def _trouble() -> tuple[list[UnreadableBatch], list[dict[str, Any]], list[str]]:
    """Returns batches that can't be unpacked, also as JSON, and alarms. Only a call loads the Kafka client and the
    domains."""
    from kounter.process.blocked import as_dicts, trouble_now

    found = trouble_now()
    return found.unreadable, as_dicts(found.unreadable), found.alarms


def look(settings: Settings) -> list[Line]:
    """Returns the services, running ones first."""
    kept = {one.name: one for one in kept_in(settings.data_dir / "logs")}
    outside = {"kafka": settings.kafka.bootstrap_servers, "registry": settings.registry.url}
    services = [Service(n, 0, address, "", 0.0) for n, address in outside.items() if address]
    services += RunFile(settings.data_dir).read()
    found = [Line(s, _answers(s.address), kept.pop(s.name, None), True) for s in services]
    return found + [Line(Service(k.name, 0, "", k.log, 0.0), None, k, False) for k in kept.values()]


def _show(lines: list[Line], settings: Settings) -> None:
    table = grid("service", "address", "pid", "answers", "state")
    for line in lines:
        service, mark = line.service, "" if line.answers is None else "[green]yes" if line.answers else "[red]no"
        state = f"[{COLOURS[line.state]}]{line.state}[/]"
        table.add_row(service.name, show(service.address), str(service.pid or ""), mark, state)
    put(table, "service", "address", "pid", "answers", "state")
    for line in lines:
        if line.why:
            screen().print(f"[{COLOURS[line.state]}]{line.service.name}[/] {shown(line.why)}", soft_wrap=True)
    print(f"\nlogs of what `kounter up` started: {settings.data_dir / 'logs'}/<service>.log")


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _answers(address: str) -> bool | None:
    """Returns whether something listens at the address, None for a service without one."""
    parts = urlsplit(address if "//" in address else f"//{address.split(',')[0]}")
    if not parts.hostname or not parts.port:
        return None
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((parts.hostname, parts.port)) == 0
