"""``kounter deliver``: commands to the outside systems."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Annotated, Literal, NamedTuple

import typer
from loguru import logger
from pydantic import SecretStr

from adapters.bitrix24.settings import Bitrix24Settings
from adapters.bitrix24.sink import Bitrix24Sink
from adapters.rosdomofon.actions import OperatorActions
from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.identity import SameOperator
from adapters.rosdomofon.kafka.client import RosDomofonKafka
from adapters.rosdomofon.sink import RosDomofonRestSink, RosDomofonSink
from kounter.blocked import leave_with_64_if_standing
from kounter.commands.rosdomofon import with_operator
from kounter.embedded.runfile import RunFile
from kounter.identity import check_kafka, guarded, has_moved, ready, same_portal
from kounter.runner import note_when_ready, on_stop, run
from kounter.settings import Settings
from kounter.shutdown import GRACE_S, end_within
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.errors import BrokenSetup
from streams.delivery.delivery import Delivery
from streams.domains import DOMAINS
from streams.kafka import identities
from streams.ports import Sink
from streams.topology import topics_of


def deliver(
    system: Annotated[Literal["bitrix24", "rosdomofon"], typer.Argument(help="The outside system.")] = "bitrix24",
) -> None:
    """Carry out the commands of bitrix.commands, or of rosdomofon.commands (by the operator's Kafka) and
    rosdomofon.requests (by its REST), in the order of each key, and produce receipts.

    Start it as often as there are partitions. While the system is down the commands stay in Kafka; delivery goes on by
    itself. Leaves with 64 if the setup is broken, 69 if Kafka or registry can't be reached at the start.
    """
    run(partial(_deliver, system))
    leave_with_64_if_standing()


class _Outside(NamedTuple):
    """A system with its sinks, each delivered by itself. ``settles_s``: the most that it works on a call; ``shared``
    is told which part of its limits is ours."""

    sinks: Sequence[Sink]
    settles_s: float
    begin: Callable[[], Awaitable[None]]
    """Raises BrokenSetup if it is another one than these commands were carried out in."""
    shared: Callable[[float], None] | None = None


async def _deliver(system: str, settings: Settings) -> None:
    run_file = RunFile(settings.data_dir)
    opened = _bitrix24 if system == "bitrix24" else _rosdomofon
    async with SchemaRegistry(settings.registry) as registry, opened(settings, run_file) as outside:
        serde = Serde(registry)
        written = {topic for sink in outside.sinks for topic in (sink.topic, *sink.receipt_topics)}
        await ready(settings, serde, topics_of(DOMAINS.values()), written)
        await outside.begin()
        deliveries = [
            Delivery(
                settings.kafka, serde, sink, settings.delivery, settings.data_dir,
                settles_s=outside.settles_s, shared=outside.shared, whose=partial(check_kafka, settings),
            )
            for sink in outside.sinks
        ]  # fmt: skip
        on_stop(partial(_stop, deliveries, settings.delivery.drain_s))
        noting = asyncio.create_task(note_when_ready(run_file, f"delivery-{system}", *(d.ready for d in deliveries)))
        running = [asyncio.create_task(delivery.run()) for delivery in deliveries]
        try:
            async with guarded(settings, serde):
                await asyncio.gather(*running)
        finally:
            for task in (noting, *running):
                task.cancel()
            await asyncio.gather(noting, *running, return_exceptions=True)


def _stop(deliveries: Sequence[Delivery], drain_s: float) -> None:
    """One that has not begun yet has no calls under way."""
    end_within(GRACE_S + (drain_s if any(delivery.ready.is_set() for delivery in deliveries) else 0.0))
    for delivery in deliveries:
        delivery.stop()


@asynccontextmanager
async def _bitrix24(settings: Settings, run_file: RunFile) -> AsyncIterator[_Outside]:
    portal = with_twin(settings.bitrix24, run_file)
    async with same_portal(settings, portal) as client:
        sink = Bitrix24Sink.of(client, portal.originator, moved=await has_moved(settings))
        yield _Outside([sink], portal.timeout_s, client.begin, client.share)


@asynccontextmanager
async def _rosdomofon(settings: Settings, run_file: RunFile) -> AsyncIterator[_Outside]:
    operator = with_operator(settings.rosdomofon, run_file, settings.kafka)
    async with AsyncExitStack() as stack:
        kafka = await stack.enter_async_context(RosDomofonKafka(operator.kafka))
        api = await stack.enter_async_context(RosDomofonAPI(operator)) if operator.username else None
        settle = partial(identities.settle, settings.kafka)
        same = SameOperator(OperatorActions(operator, kafka, api), operator, api, settle)
        yield _Outside([RosDomofonSink(same), RosDomofonRestSink(same)], operator.timeout_s, same.begin)


def with_twin(settings: Bitrix24Settings, run_file: RunFile) -> Bitrix24Settings:
    """The portal's settings; where no portal is named, those of the twin that runs here. Raises BrokenSetup."""
    if settings.webhook_url.get_secret_value():
        return settings
    twin = run_file.get("twin-bitrix24")
    if twin is None:
        raise BrokenSetup(
            "no Bitrix24 portal is named, and no twin runs",
            hint="Set KOUNTER_BITRIX24__WEBHOOK_URL, or start `kounter twins bitrix24`.",
        )
    logger.info("no portal is named: the twin stands in for it (pid {})", twin.pid)
    return settings.model_copy(update={"webhook_url": SecretStr(twin.address)})
