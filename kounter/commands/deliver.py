"""``kounter deliver``: commands to the outside systems."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from kounter.connectors import CONNECTORS, all_topics, connected, find
from kounter.process.identity import check_kafka
from kounter.process.runner import open_serde, run, work
from kounter.settings import Settings
from streams.delivery.delivery import Delivery

SYSTEMS: Final = [c.name for c in CONNECTORS if c.deliveries]
if TYPE_CHECKING:
    System = str
else:
    System = Literal[tuple(SYSTEMS)]  # the choices of the argument


def deliver(
    system: Annotated[System, typer.Argument(help="The outside system.")] = SYSTEMS[0],
) -> None:
    """Execute the commands for an outside system, in the order of each key, and produce receipts.

    Run up to as many processes as there are partitions. While the system is down the commands stay in Kafka; delivery
    continues by itself. Exits with 64 if the configuration is invalid, 69 if Kafka or the registry can't be reached at
    the start.
    """
    run(partial(_deliver, system))


async def _deliver(system: str, settings: Settings) -> None:
    connector = find(system)
    assert connector.deliveries is not None
    context = connected(connector, settings)
    topics = [*all_topics(), *connector.deliveries.own()]
    async with connector.deliveries.open(context) as opened:
        written = {topic for sink in opened.sinks for topic in (sink.topic, *sink.receipt_topics)}
        async with open_serde(settings, topics, written) as serde:
            if opened.begin is not None:
                await opened.begin()
            deliveries = [
                Delivery(
                    settings.kafka, serde, sink, settings.delivery, settings.data_dir,
                    settles_s=opened.settles_s, shared=opened.shared, whose=partial(check_kafka, settings),
                )
                for sink in opened.sinks
            ]  # fmt: skip
            await work(settings, serde, f"delivery-{system}", deliveries, drain_s=settings.delivery.drain_s)
