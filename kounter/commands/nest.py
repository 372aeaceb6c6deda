"""``kounter nest``: the bridge to services written with Nest."""

from __future__ import annotations

import asyncio
import signal

import typer
from aiokafka.errors import KafkaError, ProducerFenced
from loguru import logger

from adapters.nest.bridge import NestBridge
from kounter import logs
from kounter.blocked import leave_with_64_if_standing
from kounter.connect import connected_settings
from kounter.embedded.runfile import RunFile
from kounter.identity import guarded, ready
from kounter.settings import Settings
from kounter.shutdown import end_within
from kounter.worker import EXIT_UNAVAILABLE
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.errors import EXIT_BROKEN_SETUP, BrokenSetup, KounterError
from streams.domains import core_users
from streams.domains.crm import CRM
from streams.topology import topics_of


def nest() -> None:
    """Take Nest's messages from a JSON topic, and answer them on another.

    One runs at a time; it leaves with 64 if another one has taken over or the setup is broken, 69 if Kafka or registry
    can't be reached.
    """
    settings = connected_settings()
    logs.set_up(settings.log_level)
    try:
        asyncio.run(_nest(settings))
        leave_with_64_if_standing()
    except ProducerFenced:
        logger.critical("another bridge has taken over")
        raise typer.Exit(EXIT_BROKEN_SETUP) from None
    except BrokenSetup as error:
        logger.critical("{} {}", error.message, error.hint)
        raise typer.Exit(EXIT_BROKEN_SETUP) from None
    except (KounterError, KafkaError, OSError) as error:
        logger.error("{}", error)
        raise typer.Exit(EXIT_UNAVAILABLE) from None


async def _nest(settings: Settings) -> None:
    run = RunFile(settings.data_dir)
    async with SchemaRegistry(settings.registry) as registry:
        serde = Serde(registry)
        await ready(settings, serde, topics_of([CRM]), (core_users.USERS, core_users.REPLIES))
        bridge = NestBridge(settings.kafka, serde, settings.nest)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, _stop, bridge)
        noting = asyncio.create_task(_note_when_ready(bridge, run))
        try:
            async with guarded(settings, serde):
                await bridge.run()
        finally:
            noting.cancel()
            await asyncio.gather(noting, return_exceptions=True)


def _stop(bridge: NestBridge) -> None:
    end_within()
    bridge.stop()


async def _note_when_ready(bridge: NestBridge, run: RunFile) -> None:
    await bridge.ready.wait()
    run.add("bridge-nest")
