"""``kounter watch``: what people change in an outside system, into topics."""

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated, Any, Final, Literal

import httpx
import typer
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from adapters.bitrix24.items import Items
from adapters.bitrix24.leads import LeadApi, Leads
from adapters.bitrix24.watch import PortalWatch
from adapters.bitrix24.webhook import hooks_router
from kounter.commands.deliver import with_twin
from kounter.embedded.runfile import RunFile
from kounter.gateway.server import MAX_CONNECTIONS, PatientProtocol
from kounter.identity import guarded, ready, same_portal
from kounter.runner import run
from kounter.settings import Settings
from kounter.shutdown import EndingServer
from kounter.sockets import bind, is_loopback
from schemas.bitrix24 import CardChanged
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.errors import BrokenSetup
from schemas.record import contract
from streams.domains import DOMAINS
from streams.kafka.producer import RecordProducer
from streams.topology import topics_of

GRACE_S: Final = 1
SHARE: Final = 0.2
"""Of the portal's rate, beside the deliveries: each change of ours comes back as an event that is looked at."""


def watch(
    system: Annotated[Literal["bitrix24"], typer.Argument(help="The outside system.")] = "bitrix24",
) -> None:
    """Take the portal's webhook and look at what was modified, and produce it to the topics of whose leads they are.

    In the portal, set the outgoing webhook's address to this process (KOUNTER_WATCH__LISTEN, path /hooks/bitrix24) and
    its token here (KOUNTER_WATCH__HOOK__APPLICATION_TOKEN). Leaves with 64 if the setup is broken, 69 if Kafka or
    registry can't be reached at the start.
    """
    run(_watch)


async def _watch(settings: Settings) -> None:
    run_file, watching = RunFile(settings.data_dir), settings.watch
    if not is_loopback(watching.listen) and not watching.hook.application_token.get_secret_value():
        raise BrokenSetup(
            f"the webhook's address {watching.listen} would be open without a token",
            hint="Set KOUNTER_WATCH__HOOK__APPLICATION_TOKEN, as the portal shows it.",
        )
    portal = with_twin(settings.bitrix24, run_file)
    hook = watching.hook
    if not settings.bitrix24.webhook_url.get_secret_value() and not hook.application_token.get_secret_value():
        hook = hook.model_copy(update={"application_token": SecretStr(secrets.token_urlsafe(16))})
        await _tell_twin(portal.webhook_url, f"http://{watching.listen}{hook.path}", hook.application_token)
    async with SchemaRegistry(settings.registry) as registry, same_portal(settings, portal) as client:
        client.share(SHARE)
        serde = Serde(registry)
        await ready(settings, serde, topics_of(DOMAINS.values()), contract(CardChanged).topics)
        await client.begin()
        leads: LeadApi = Items(client) if portal.api == "item" else Leads(client)
        async with RecordProducer(settings.kafka, serde, "bitrix24") as producer:

            async def send(row: Any, topic: str) -> None:
                await producer.send(row, topic=topic)

            notes = settings.data_dir / "watch-bitrix24.json"
            watcher = PortalWatch(client, leads, portal.originator, watching, send, notes)
            app = FastAPI(title="Kounter hooks", docs_url=None, redoc_url=None, openapi_url=None)
            app.include_router(hooks_router(hook, watcher.take))
            async with guarded(settings, serde):
                await _serve(app, watching.listen, watcher, run_file)


async def _serve(app: FastAPI, address: str, watcher: PortalWatch, run_file: RunFile) -> None:
    """Until told to stop, or until records can't be produced."""
    config = uvicorn.Config(
        app, http=PatientProtocol, ws="none", log_config=None, access_log=False, server_header=False,
        limit_concurrency=MAX_CONNECTIONS, timeout_graceful_shutdown=GRACE_S,
    )  # fmt: skip
    server = EndingServer(config)
    watching = asyncio.create_task(watcher.run())
    watching.add_done_callback(lambda _: setattr(server, "should_exit", True))
    run_file.add("watch-bitrix24", f"http://{address}")
    try:
        await server.serve(sockets=[bind(address, "KOUNTER_WATCH__LISTEN")])
    finally:
        run_file.remove("watch-bitrix24")
        if watching.done():
            watching.result()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _tell_twin(webhook: SecretStr, url: str, token: SecretStr) -> None:
    """A twin has nobody who sets its webhook by hand."""
    base = webhook.get_secret_value().partition("/rest/")[0]
    body = {"url": url, "application_token": token.get_secret_value()}
    async with httpx.AsyncClient(base_url=base, trust_env=False) as http:
        (await http.post("/_twin/webhook", json=body)).raise_for_status()
