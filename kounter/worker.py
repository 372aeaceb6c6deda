"""A worker process: the Faust app of one domain. ``kounter worker`` keeps it running.

python -m kounter.worker estate 0     (domain, slot)
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import Final

import faust

from kounter.connectors import topics_of
from kounter.embedded.runfile import RunFile
from kounter.process.blocked import is_standing
from kounter.process.identity import check_kafka, keep_comparing, ready
from kounter.process.runner import exit_codes, started
from kounter.process.shutdown import end_within
from kounter.process.slots import slot_dir
from kounter.settings import Settings
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.errors import EXIT_BROKEN_SETUP, BrokenSetup
from streams.aggregate import Domain
from streams.app import DomainApp, create_app
from streams.collector import settle_collector
from streams.domains import with_rules

GRACE_S: Final = 6.0
"""Seconds for the batch in flight, its commit, and leaving the group."""


class EndingWorker(faust.Worker):  # type: ignore[misc]
    """A worker that ends soon after an order to stop: while Kafka is away, Faust would wait for it. Records that were
    not committed are read again."""

    async def stop(self) -> None:
        if not self.app.crashed:  # else the exit code gives the reason
            end_within(GRACE_S)
        await super().stop()


def domain_of(name: str, settings: Settings) -> Domain:
    """Returns a domain with the rules of the settings."""
    return with_rules(name, (part for _, part in settings))


async def prepare(domain: Domain, settings: Settings, registry: SchemaRegistry) -> Serde:
    """Check Kafka and registry, create topics, register schemas. Returns the serde. Raises as `ready`."""
    serde = Serde(registry)
    await ready(settings, serde, topics_of([domain]), domain.writes)
    return serde


def build(domain: Domain, settings: Settings, slot: int, loop: asyncio.AbstractEventLoop) -> DomainApp:
    """Returns the app, ready to run on ``loop``."""
    registry = SchemaRegistry(settings.registry)
    serde = loop.run_until_complete(prepare(domain, settings, registry))
    app = create_app(domain, serde, settings.kafka, settings.lane, slot_dir(settings.data_dir, slot))
    app.lanes.whose = partial(check_kafka, settings)

    @app.task  # type: ignore[untyped-decorator]
    async def whose(app: DomainApp) -> None:
        try:
            await keep_comparing(settings, serde)
        except BrokenSetup as error:
            app.lanes.fail(None, error)

    return app


def main(domain_name: str, slot: int) -> None:
    """Run a worker until an order to stop.

    Exits as `exit_codes` describes, and with 64 if a partition stands at a batch that can't be unpacked.
    """
    with exit_codes():
        settings = started()
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        app = build(domain_of(domain_name, settings), settings, slot, loop)
    RunFile(settings.data_dir).add(f"worker-{domain_name}-{slot}")
    settle_collector()
    worker = EndingWorker(app, loop=loop, loglevel="WARNING", override_logging=False, redirect_stdouts=False)
    worker.spinner = None  # it would write into the log, and set the root logger to DEBUG
    try:
        worker.execute_from_commandline()
    except SystemExit as ended:
        if not ended.code and is_standing():
            sys.exit(EXIT_BROKEN_SETUP)
        raise


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
