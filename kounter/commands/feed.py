"""``kounter feed``: what outside systems say, into topics."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any, Final, Literal

import httpx
import typer
from aiokafka.errors import KafkaError
from loguru import logger

from adapters.brusnika.client import BrusnikaFeed, BrusnikaSettings
from adapters.brusnika.position import KafkaPositions
from kounter import logs
from kounter.connect import connected_settings
from kounter.embedded.runfile import RunFile
from kounter.settings import Settings
from kounter.whose import guarded, ready
from kounter.worker import EXIT_UNAVAILABLE
from schemas.errors import EXIT_BROKEN_SETUP, BrokenSetup, DeliveryDenied, KounterError
from schemas.producer import RecordProducer
from schemas.record import contracts
from schemas.registry import SchemaRegistry
from schemas.serde import Serde
from streams import identities
from streams.domains import DOMAINS
from streams.topics import topics_of

EXIT_DENIED: Final = EXIT_BROKEN_SETUP
"""A feed that denies us needs a person: the supervisor must not hammer it."""
REPORT_S: Final = 10.0


def feed(
    system: Annotated[Literal["brusnika"], typer.Argument(help="The outside system.")] = "brusnika",
) -> None:
    """Take the developer's WebSocket feed and produce its changes to the estate topics, from where it was left.

    Leaves with 64 if the setup is broken or the feed denies us, 69 if Kafka or registry can't be reached at the start.
    """
    settings = connected_settings()
    logs.set_up(settings.log_level)
    try:
        asyncio.run(_feed(system, settings))
    except (BrokenSetup, DeliveryDenied) as error:
        logger.critical("{} {}", error.message, error.hint)
        raise typer.Exit(EXIT_DENIED) from None
    except (KounterError, KafkaError, OSError) as error:
        logger.error("{}", error)
        raise typer.Exit(EXIT_UNAVAILABLE) from None


async def _feed(system: str, settings: Settings) -> None:
    kafka, run = settings.kafka, RunFile(settings.data_dir)
    brusnika = with_twin(settings.brusnika, run)
    async with SchemaRegistry(settings.registry) as registry:
        serde = Serde(registry)
        written = {c.topics[0] for c in contracts() if c.outside is not None}
        await ready(settings, serde, topics_of(DOMAINS.values()), written)
        await identities.settle(kafka, f"feed-{brusnika.source}", partial(_same_feed, httpx.URL(brusnika.url).host))
        async with (
            KafkaPositions(kafka, brusnika.source) as positions,
            RecordProducer(kafka, serde, brusnika.source) as producer,
        ):

            async def sink(row: tuple[Any, ...]) -> None:
                await producer.send(row)

            taking = BrusnikaFeed(brusnika, sink, positions.load, positions.save)
            run.add(f"feed-{system}")
            async with guarded(settings, serde):
                await _until_told(taking)


def _same_feed(host: str, known: dict[str, Any] | None) -> dict[str, Any]:
    """Whose position it is that the feed goes on from. Raises BrokenSetup if another server is set now."""
    if known is not None and known["host"] != host:
        raise BrokenSetup(
            f"another feed: the position is one of {known['host']}, KOUNTER_BRUSNIKA__URL names {host}",
            hint="Set KOUNTER_BRUSNIKA__URL to that server. To move to this one for good there is `kounter adopt "
            "feed`; where it has counted anew, `kounter feed reset` comes after it.",
        )
    return {"host": host}


async def _until_told(taking: BrusnikaFeed) -> None:
    """Run the feed until SIGTERM or SIGINT, and say now and then how it goes."""
    running = asyncio.create_task(taking.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    before: dict[str, Any] = {}
    while not running.done():
        await asyncio.wait({running}, timeout=REPORT_S)
        if (now := asdict(taking.stats)) != before:
            logger.info("feed: {}", now)
        before = now
    if not running.cancelled():
        running.result()


def with_twin(settings: BrusnikaSettings, run: RunFile) -> BrusnikaSettings:
    """The feed's settings; where no feed is named, the address of the twin that runs here. Raises BrokenSetup."""
    if settings.url:
        return settings
    twin = run.get("twin-brusnika")
    if twin is None:
        raise BrokenSetup(
            "no Brusnika feed is named, and no twin runs",
            hint="Set KOUNTER_BRUSNIKA__URL, or start `kounter twins brusnika`.",
        )
    logger.info("no feed is named: taking that of the twin (pid {})", twin.pid)
    return settings.model_copy(update={"url": twin.address})
