"""The connector of Brusnika's feed, a developer's WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from adapters.brusnika.settings import BrusnikaSettings
from adapters.connector import (
    Adoption,
    Connector,
    Context,
    EndlessSource,
    Inbound,
    OpenSource,
    ServedTwin,
    Twin,
    TwinOption,
)
from schemas.errors import BrokenSetup

if TYPE_CHECKING:
    from adapters.brusnika.feed import BrusnikaFeed
    from schemas.codec.serde import Serde

NAME: Final = "brusnika"
REPORT_S: Final = 10.0


def _written() -> Iterable[str]:
    from schemas.record import outside_topics

    return outside_topics()


@asynccontextmanager
async def _feed(context: Context, serde: Serde) -> AsyncIterator[OpenSource]:
    from adapters.brusnika.source import open_feed
    from streams.kafka import identities

    settings, kafka = context.part(BrusnikaSettings), context.kafka
    host = _host(settings)
    await identities.settle(kafka, _identity(settings), lambda known: same_feed(host, known))
    async with open_feed(settings, kafka, serde) as feed:
        yield OpenSource(EndlessSource(lambda: _reported(feed)))


@asynccontextmanager
async def _slots(context: Context, serde: Serde) -> AsyncIterator[OpenSource]:
    from adapters.brusnika.source import open_slots

    async with open_slots(context.part(BrusnikaSettings), context.kafka, serde) as poller:
        yield OpenSource(EndlessSource(poller.run))


def _slot_topics() -> Iterable[str]:
    from schemas.bookings import ReportTimeSlot
    from schemas.record import contract

    return contract(ReportTimeSlot).topics


async def _reported(feed: BrusnikaFeed) -> None:
    """Run the feed, and log its numbers now and then."""
    from loguru import logger

    running = asyncio.create_task(feed.run())
    before: dict[str, Any] = {}
    try:
        while not running.done():
            await asyncio.wait({running}, timeout=REPORT_S)
            if (now := asdict(feed.stats)) != before:
                logger.info("feed: {}", now)
            before = now
        running.result()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        logger.info("feed ends: {}", asdict(feed.stats))


def same_feed(host: str, known: dict[str, Any] | None) -> dict[str, Any]:
    """Returns the identity of the server whose position is kept. Raises BrokenSetup if another server is set now."""
    if known is not None and known["host"] != host:
        raise BrokenSetup(
            f"another feed: the position is one of {known['host']}, KOUNTER_BRUSNIKA__URL names {host}",
            hint="Set KOUNTER_BRUSNIKA__URL to that server. To move to this one for good there is `kounter adopt "
            "feed`; if it numbers from 1, `kounter feed reset` comes after it.",
        )
    return {"host": host}


def _host(settings: BrusnikaSettings) -> str:
    import httpx

    return httpx.URL(settings.url).host


def _identity(settings: BrusnikaSettings) -> str:
    return f"feed-{settings.source}"


@asynccontextmanager
async def _serve(
    context: Context, host: str, port: int, *, seed: int, rate: float, limit: int | None, people: bool
) -> AsyncIterator[ServedTwin]:
    from adapters.brusnika.twin.server import BrusnikaTwin

    header = context.part(BrusnikaSettings)
    twin = BrusnikaTwin(
        host=host,
        port=port,
        seed=seed,
        rate=rate,
        limit=limit,
        people=people,
        header_name=header.header_name,
        header_value=header.header_value.get_secret_value(),
    )
    async with twin:
        yield ServedTwin(twin.url, twin.url)


async def _adoption(context: Context) -> Adoption | None:
    from adapters.identity import known_identity

    settings = context.part(BrusnikaSettings)
    host, known = _host(settings), await known_identity(context.kafka, _identity(settings))
    if known is not None and known.get("host") == host:
        return None
    return Adoption(
        str((known or {}).get("host", "none")),
        host,
        "nothing: it goes on from the same update_id. If the server numbers from 1, `kounter feed reset` comes next.",
        {_identity(settings): {"host": host}},
    )


BRUSNIKA: Final = Connector(
    name=NAME,
    title="Brusnika",
    noun="feed",
    settings=BrusnikaSettings,
    is_set=lambda context: bool(context.part(BrusnikaSettings).url),
    variables="KOUNTER_BRUSNIKA__URL",
    source=Inbound(process=f"feed-{NAME}", writes=_written, open=_feed),
    twin=Twin(
        port=7182,
        serve=_serve,
        stand_in=lambda context, address: context.part(BrusnikaSettings).model_copy(update={"url": address}),
        options=[
            TwinOption("people", bool, False, "Brusnika: with agencies, users, clients, visits, bookings and tasks."),
            TwinOption("seed", int, 1, "Brusnika: seed of the company that is streamed."),
            TwinOption("rate", float, 20, "Brusnika: frames a second; 0 is as fast as they are taken.", 0),
            TwinOption("limit", int | None, None, "Brusnika: frames of the stream; without it there is no end."),
        ],
    ),
    adoption=_adoption,
)

BRUSNIKA_SLOTS: Final = Connector(
    name="brusnika-slots",
    title="Brusnika",
    noun="CRM",
    settings=BrusnikaSettings,
    is_set=lambda context: bool(context.part(BrusnikaSettings).slots.url),
    variables="KOUNTER_BRUSNIKA__SLOTS__URL",
    source=Inbound(process="feed-brusnika-slots", writes=_slot_topics, open=_slots),
)
