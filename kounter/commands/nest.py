"""``kounter nest``: the bridge to services written with Nest."""

from __future__ import annotations

import asyncio
from functools import partial

from aiokafka.errors import ProducerFenced

from adapters.nest.bridge import NestBridge
from kounter.blocked import leave_with_64_if_standing
from kounter.embedded.runfile import RunFile
from kounter.identity import guarded, ready
from kounter.runner import note_when_ready, on_stop, run
from kounter.settings import Settings
from kounter.shutdown import end_within
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.errors import BrokenSetup
from streams.domains import core_users
from streams.domains.crm import CRM
from streams.topology import topics_of


def nest() -> None:
    """Take Nest's messages from a JSON topic, and answer them on another.

    One runs at a time; it leaves with 64 if another one has taken over or the setup is broken, 69 if Kafka or registry
    can't be reached.
    """
    run(_nest)
    leave_with_64_if_standing()


async def _nest(settings: Settings) -> None:
    run_file = RunFile(settings.data_dir)
    async with SchemaRegistry(settings.registry) as registry:
        serde = Serde(registry)
        await ready(settings, serde, topics_of([CRM]), (core_users.USERS, core_users.REPLIES))
        bridge = NestBridge(settings.kafka, serde, settings.nest)
        on_stop(partial(_stop, bridge))
        noting = asyncio.create_task(note_when_ready(run_file, "bridge-nest", bridge.ready))
        try:
            async with guarded(settings, serde):
                await bridge.run()
        except ProducerFenced:
            raise BrokenSetup("another bridge has taken over", hint="One runs at a time: stop the other one.") from None
        finally:
            noting.cancel()
            await asyncio.gather(noting, return_exceptions=True)


def _stop(bridge: NestBridge) -> None:
    end_within()
    bridge.stop()
