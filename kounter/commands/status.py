"""``kounter status``: what runs where."""

from __future__ import annotations

import json
import socket
from typing import Annotated
from urllib.parse import urlsplit

import typer

from kounter.commands.settings import show
from kounter.embedded.runfile import RunFile, Service
from kounter.present import grid, put, screen, shown
from kounter.settings import Settings, load
from kounter.standing import as_dicts, unreadable_now
from schemas.errors import EXIT_BROKEN_SETUP


def status(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Every service that runs on this data folder: its address and process, and where their logs are.

    Leaves with 1 if nothing runs, with 64 if a partition stands at a batch that can't be unpacked, which it names.
    """
    settings = load()
    services = RunFile(settings.data_dir).read()
    outside = {"kafka": settings.kafka.bootstrap_servers, "registry": settings.registry.url}
    standing = unreadable_now()
    services = [Service(n, 0, address, "", 0.0) for n, address in outside.items() if address] + services
    if as_json:
        found = {s.name: {**s._asdict(), "address": show(s.address), "answers": _answers(s.address)} for s in services}
        unreadable = as_dicts(standing)
        print(json.dumps({"data_dir": str(settings.data_dir), "services": found, "unreadable": unreadable}))
    elif services:
        _show(services, settings)
    else:
        screen(stderr=True).print(f"nothing runs on {settings.data_dir}; start `kounter up`")
    if not services:
        raise typer.Exit(1)
    for batch in standing:
        screen(stderr=True).print(f"[red]{shown(batch.message)}[/] {shown(batch.hint)}", soft_wrap=True)
    if standing:
        raise typer.Exit(EXIT_BROKEN_SETUP)


def _show(services: list[Service], settings: Settings) -> None:
    table = grid("service", "address", "pid", "answers")
    for service in services:
        answers = _answers(service.address)
        mark = "" if answers is None else "[green]yes" if answers else "[red]no"
        table.add_row(service.name, show(service.address), str(service.pid or ""), mark)
    put(table, "service", "address", "pid", "answers")
    print(f"\nlogs of what `kounter up` started: {settings.data_dir / 'logs'}/<service>.log")


def _answers(address: str) -> bool | None:
    """Whether something listens there; None for a service that listens nowhere."""
    parts = urlsplit(address if "//" in address else f"//{address.split(',')[0]}")
    if not parts.hostname or not parts.port:
        return None
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((parts.hostname, parts.port)) == 0
