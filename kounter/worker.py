"""A worker process: the Faust app of one domain. ``kounter worker`` keeps it running.

python -m kounter.worker estate 0     (domain, slot)
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import Final

import faust
from aiokafka.errors import KafkaError
from loguru import logger

from kounter import logs, unexpected
from kounter.blocked import is_standing
from kounter.connect import connected_settings
from kounter.embedded.runfile import RunFile
from kounter.identity import check_kafka, keep_comparing, ready
from kounter.runner import EXIT_UNAVAILABLE
from kounter.settings import Settings
from kounter.shutdown import end_within
from kounter.slots import slot_dir
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.errors import EXIT_BROKEN_SETUP, BrokenSetup, KounterError
from streams.aggregate import Domain
from streams.app import DomainApp, create_app, settle_collector
from streams.domains import DOMAINS
from streams.domains.domofon import domofon
from streams.topology import topics_of

GRACE_S: Final = 6.0
"""For the batch at hand, its commit, and leaving the group."""


class EndingWorker(faust.Worker):  # type: ignore[misc]
    """Ends soon once it is told to: with Kafka away Faust waits for it. What was not committed is read again."""

    async def stop(self) -> None:
        if not self.app.crashed:  # else the exit code says why
            end_within(GRACE_S)
        await super().stop()


def domain_of(name: str, settings: Settings) -> Domain:
    """A domain under the rules that are set."""
    return domofon(settings.domofon) if name == "domofon" else DOMAINS[name]


async def prepare(domain: Domain, settings: Settings, registry: SchemaRegistry) -> Serde:
    """Kafka and registry compared, topics made and checked, schemas registered."""
    serde = Serde(registry)
    await ready(settings, serde, topics_of([domain]), domain.writes)
    return serde


def build(domain: Domain, settings: Settings, slot: int, loop: asyncio.AbstractEventLoop) -> DomainApp:
    """The app, ready to run on ``loop``."""
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
    """Run until told to stop; exits with 64 if the setup is broken or a partition stands at a batch that can't be
    unpacked, 69 if Kafka or registry can't be reached."""
    try:
        settings = connected_settings()
        logs.set_up(settings.log_level)
    except BrokenSetup as error:
        logger.critical("{} {}", error.message, error.hint)
        sys.exit(EXIT_BROKEN_SETUP)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        app = build(domain_of(domain_name, settings), settings, slot, loop)
    except BrokenSetup as error:
        logger.critical("{} {}", error.message, error.hint)
        sys.exit(EXIT_BROKEN_SETUP)
    except (KounterError, KafkaError, OSError) as error:
        logger.error("{}", error)
        sys.exit(EXIT_UNAVAILABLE)
    except Exception as error:
        logger.critical("{} {}", *unexpected.explained(error))
        sys.exit(1)
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
