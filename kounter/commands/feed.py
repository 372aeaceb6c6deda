"""``kounter feed``: what outside systems say, into topics."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any, Final

import httpx
import typer
from loguru import logger

from adapters.brusnika.feed import BrusnikaFeed
from adapters.brusnika.position import KafkaPositions, Position
from adapters.brusnika.settings import BrusnikaSettings
from kounter.connect import connected_settings
from kounter.embedded.runfile import RunFile
from kounter.identity import guarded, ready
from kounter.runner import on_stop, run
from kounter.settings import Settings
from kounter.shutdown import end_within
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.errors import BrokenSetup
from schemas.record import contracts
from streams.domains import DOMAINS
from streams.kafka import identities
from streams.kafka.producer import RecordProducer
from streams.topology import topics_of

REPORT_S: Final = 10.0


app = typer.Typer(help="What outside systems say, into topics.")


@app.callback(invoke_without_command=True)
def feed(context: typer.Context) -> None:
    """Take the developer's feed, if no other command is named."""
    if context.invoked_subcommand is None:
        brusnika()


@app.command()
def brusnika() -> None:
    """Take the developer's WebSocket feed and produce its changes to the estate topics, from where it was left.

    Leaves with 64 if the setup is broken or the feed denies us, 69 if Kafka or registry can't be reached at the start.
    """
    run(partial(_feed, "brusnika"), ends_when_denied=True)


@app.command()
def reset(
    to: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Ask after this update_id; 0: for all there is.")] = 0,
    anew: Annotated[
        bool, typer.Option("--anew", help="The feed's counter began anew: count its numbers as newer than all before.")
    ] = False,
) -> None:
    """Let the feed begin elsewhere: a running one with its next connection.

    All changes above the number come again. What is known of them is dropped as a duplicate or stale; with --anew none
    is, as their numbers go on above those that were taken before.
    """
    settings = connected_settings()
    before, after = asyncio.run(_reset(settings, to, anew))
    print(
        f"the feed was after update_id {int(before)}; with its next connection it is asked for all changes above {to}"
    )
    if anew:
        print(
            f"{after.above} is added to their numbers on our topics, so that each counts as newer than what came before"
        )
    else:
        print("what is known of them is dropped as a duplicate or stale")


async def _reset(settings: Settings, to: int, anew: bool) -> tuple[Position, Position]:
    async with KafkaPositions(settings.kafka, settings.brusnika.source) as positions:
        before = await positions.load()
        return Position(0) if before is None else before, await positions.reset(to, anew=anew)


async def _feed(system: str, settings: Settings) -> None:
    kafka, run_file = settings.kafka, RunFile(settings.data_dir)
    named = with_twin(settings.brusnika, run_file)
    async with SchemaRegistry(settings.registry) as registry:
        serde = Serde(registry)
        written = {c.topics[0] for c in contracts() if c.outside is not None}
        await ready(settings, serde, topics_of(DOMAINS.values()), written)
        await identities.settle(kafka, f"feed-{named.source}", partial(_same_feed, httpx.URL(named.url).host))
        async with (
            KafkaPositions(kafka, named.source) as positions,
            RecordProducer(kafka, serde, named.source) as producer,
        ):

            async def sink(row: tuple[Any, ...]) -> None:
                await producer.send(row)

            taking = BrusnikaFeed(named, sink, positions.load, positions.save)
            run_file.add(f"feed-{system}")
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
    on_stop(partial(_stop, running))
    before: dict[str, Any] = {}
    while not running.done():
        await asyncio.wait({running}, timeout=REPORT_S)
        if (now := asdict(taking.stats)) != before:
            logger.info("feed: {}", now)
        before = now
    if not running.cancelled():
        running.result()


def _stop(running: asyncio.Task[None]) -> None:
    end_within()
    running.cancel()


def with_twin(settings: BrusnikaSettings, run_file: RunFile) -> BrusnikaSettings:
    """The feed's settings; where no feed is named, the address of the twin that runs here. Raises BrokenSetup."""
    if settings.url:
        return settings
    twin = run_file.get("twin-brusnika")
    if twin is None:
        raise BrokenSetup(
            "no Brusnika feed is named, and no twin runs",
            hint="Set KOUNTER_BRUSNIKA__URL, or start `kounter twins brusnika`.",
        )
    logger.info("no feed is named: taking that of the twin (pid {})", twin.pid)
    return settings.model_copy(update={"url": twin.address})
