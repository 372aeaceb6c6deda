"""The connector of a Bitrix24 portal: cards and comments out, people's changes in."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pydantic import SecretStr

from adapters.bitrix24.settings import Bitrix24HookSettings, Bitrix24Settings, WatchSettings
from adapters.connector import (
    Adoption,
    Connector,
    Context,
    Deliveries,
    EndlessSource,
    Inbound,
    Listen,
    OpenSinks,
    OpenSource,
    ServedTwin,
    Twin,
    TwinOption,
)
from schemas.errors import BrokenSetup

if TYPE_CHECKING:
    from adapters.bitrix24.identity import SamePortal
    from schemas.codec.serde import Serde

NAME: Final = "bitrix24"
SHARE: Final = 0.2
"""Part of the portal's rate that the watch uses beside the deliveries: each of our changes comes back as an event."""
NOTES: Final = f"watch-{NAME}.json"


def same_portal(context: Context) -> SamePortal:
    """Returns a client of the portal in which the commands of this Kafka are executed, and of no other portal."""
    from adapters.bitrix24.identity import SamePortal
    from streams.kafka import identities

    return SamePortal(context.part(Bitrix24Settings), partial(identities.settle, context.kafka, NAME))


async def has_moved(context: Context) -> bool:
    """Returns whether `kounter adopt portal` has left another portal, in which ids of leads were learned."""
    from streams.kafka import identities

    return bool((await identities.read(context.kafka, NAME) or {}).get("moved"))


@asynccontextmanager
async def _sinks(context: Context) -> AsyncIterator[OpenSinks]:
    from adapters.bitrix24.sink import Bitrix24Sink

    portal = context.part(Bitrix24Settings)
    async with same_portal(context) as client:
        sink = Bitrix24Sink.of(client, portal.originator, moved=await has_moved(context))
        yield OpenSinks([sink], portal.timeout_s, client.begin, client.share)


def _watched() -> Iterable[str]:
    from schemas.bitrix24 import CardChanged
    from schemas.record import contract

    return contract(CardChanged).topics


@asynccontextmanager
async def _watch(context: Context, serde: Serde) -> AsyncIterator[OpenSource]:
    from fastapi import FastAPI

    from adapters.bitrix24.items import lead_api
    from adapters.bitrix24.watch import PortalWatch
    from adapters.bitrix24.webhook import hooks_router
    from streams.kafka.producer import RecordProducer

    portal, watching = context.part(Bitrix24Settings), context.part(WatchSettings)
    hook = await _hook(context, watching)
    async with same_portal(context) as client, RecordProducer(context.kafka, serde, NAME) as producer:
        client.share(SHARE)
        await client.begin()

        async def send(row: Any, topic: str) -> None:
            await producer.send(row, topic=topic)

        notes = context.data_dir / NOTES
        watcher = PortalWatch(client, lead_api(client), portal.originator, watching, send, notes)
        app = FastAPI(title="Kounter hooks", docs_url=None, redoc_url=None, openapi_url=None)
        app.include_router(hooks_router(hook, watcher.take))
        yield OpenSource(EndlessSource(watcher.run), app=app)


async def _hook(context: Context, watching: WatchSettings) -> Bitrix24HookSettings:
    """Returns the webhook's settings. A twin's webhook is set up here, as no person does it.

    Raises BrokenSetup if an address beyond loopback would be open without a token.
    """
    from adapters.loopback import is_loopback

    if watching.hook.application_token.get_secret_value():
        return watching.hook
    if not is_loopback(watching.listen.rpartition(":")[0]):
        raise BrokenSetup(
            f"the webhook's address {watching.listen} would be open without a token",
            hint="Set KOUNTER_WATCH__HOOK__APPLICATION_TOKEN, as the portal shows it.",
        )
    if not context.twin:
        return watching.hook
    token = secrets.token_urlsafe(16)
    await _set_webhook(context.twin, f"http://{watching.listen}{watching.hook.path}", token)
    return watching.hook.model_copy(update={"application_token": SecretStr(token)})


async def _set_webhook(twin: str, url: str, token: str) -> None:
    import httpx

    async with httpx.AsyncClient(base_url=twin.partition("/rest/")[0], trust_env=False) as http:
        (await http.post("/_twin/webhook", json={"url": url, "application_token": token})).raise_for_status()


@asynccontextmanager
async def _serve(context: Context, host: str, port: int, *, limits: bool) -> AsyncIterator[ServedTwin]:
    """The twin keeps its leads in the data folder."""
    from adapters.bitrix24.twin.limits import Limits
    from adapters.bitrix24.twin.server import Bitrix24Twin

    folder = context.data_dir / "twins"
    folder.mkdir(parents=True, exist_ok=True)
    leads = folder / "bitrix24.sqlite"
    async with Bitrix24Twin(host=host, port=port, db_path=leads, limits=Limits(enabled=limits)) as twin:
        yield ServedTwin(twin.webhook_url, f"{twin.url} (its leads), {twin.webhook_url} (its webhook)")


def _stand_in(context: Context, address: str) -> Bitrix24Settings:
    return context.part(Bitrix24Settings).model_copy(update={"webhook_url": SecretStr(address)})


async def _adoption(context: Context) -> Adoption | None:
    from adapters.bitrix24.identity import same
    from adapters.identity import known_identity

    async with same_portal(context) as client:
        known = await known_identity(context.kafka, NAME)
        came = await client.came((known or {}).get("leads", {}))
        if known is not None and same(known, came):
            return None
        came = await client.came({})
    return Adoption(
        str((known or {}).get("host", "none")),
        str(came["host"]),
        "ids of {made} leads that were made there, and all that commands name: each lead is searched by its origin, or "
        "made, in the new one. `kounter audit bitrix24 --heal` then sends the cards that are not touched.",
        {NAME: {**came, "moved": True}},
    )


BITRIX24: Final = Connector(
    name=NAME,
    title="Bitrix24",
    noun="portal",
    settings=Bitrix24Settings,
    is_set=lambda context: bool(context.part(Bitrix24Settings).webhook_url.get_secret_value()),
    variables="KOUNTER_BITRIX24__WEBHOOK_URL",
    deliveries=Deliveries({NAME: "bitrix.commands"}, "bitrix.responses", _sinks),
    source=Inbound(
        process=f"watch-{NAME}",
        writes=_watched,
        open=_watch,
        listen=lambda context: Listen(context.part(WatchSettings).listen, "KOUNTER_WATCH__LISTEN"),
    ),
    twin=Twin(
        port=7181,
        serve=_serve,
        stand_in=_stand_in,
        options=[TwinOption("limits", bool, True, "Bitrix24: the limits of an ordinary portal.")],
        up=[
            "--no-limits"
        ],  # two calls a second, as a portal's limit is, would leave the cards far behind a twin's feed
    ),
    adoption=_adoption,
    files=["watch-*.json"],
)
