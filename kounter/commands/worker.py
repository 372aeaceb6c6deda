"""``kounter worker``: folds records, and restarts its processes."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Annotated

import typer
from loguru import logger

from kounter import logs
from kounter.connect import connected_settings
from kounter.embedded.process import Supervisor
from kounter.process.slots import take_slot
from schemas.codec.compiled import native
from schemas.errors import BrokenSetup
from streams.domains import DOMAINS


def worker(
    domain: Annotated[list[str] | None, typer.Option(help="Domains to fold; all if none is named.")] = None,
    slot: Annotated[int | None, typer.Option(help="Number of this worker's state folder; the first free one.")] = None,
) -> None:
    """Fold records of the domains into tables, in one process each.

    Run up to as many workers as there are partitions: they share the work. Exits with 64 if the configuration is
    invalid; a process that ends for any other reason is restarted, with growing pauses.
    """
    settings = connected_settings()
    logs.set_up(settings.log_level)
    names = domain or list(DOMAINS)
    if unknown := [name for name in names if name not in DOMAINS]:
        raise BrokenSetup(f"no domain {unknown[0]!r}", hint=f"There are: {', '.join(DOMAINS)}.")
    lock, slot = take_slot(settings.data_dir, slot)
    ended = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: ended.set())
    supervisors = [
        Supervisor(
            f"worker-{name}-{slot}",
            [sys.executable, "-m", "kounter.worker", name, str(slot)],
            settings.data_dir / "logs" / f"worker-{name}-{slot}.log",
        )
        for name in names
    ]
    if native is None:
        logger.info(
            "the fold is in Python, at a third more CPU: its parts in C were not built when Kounter was installed"
        )
    logger.info("worker {} folds {}; logs in {}", slot, ", ".join(names), settings.data_dir / "logs")
    while not ended.wait(0.5):
        if broken := next((s for s in supervisors if s.exit_code is not None), None):
            logger.critical("{} ended for good with {}:\n{}", broken.name, broken.exit_code, broken.child.tail())
            break
    for supervisor in supervisors:
        supervisor.stop()
    lock.close()
    raise typer.Exit(next((s.exit_code or 0 for s in supervisors if s.exit_code == 64), 0))
