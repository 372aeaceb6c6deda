"""``kounter gateway``: HTTP for readers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final

import uvicorn
from fastapi import FastAPI
from loguru import logger

from adapters.bitrix24.stages import Stages
from kounter import logs
from kounter.commands.deliver import with_twin
from kounter.connect import connected_settings
from kounter.embedded.runfile import RunFile
from kounter.gateway.app import create_app
from kounter.gateway.reader import ViewReader, resources, statuses
from kounter.gateway.server import MAX_CONNECTIONS, PatientProtocol
from kounter.gateway.settings import check_exposure
from kounter.gateway.user_service import REPLIES, StagesOf, UserService
from kounter.identity import guarded, ready, same_portal
from kounter.reader import open_reader
from kounter.settings import Settings
from kounter.shutdown import EndingServer
from kounter.sockets import bind
from schemas.codec.serde import Serde
from schemas.errors import BrokenSetup, DeliveryError
from streams.domains import DOMAINS
from streams.domains.crm import CRM
from streams.kafka.producer import RecordProducer
from streams.query.command_client import CommandClient
from streams.query.view_feeder import ViewFeeder
from streams.resilience import together
from streams.topology import topics_of
from tables.view import View

MAX_HEAD_BYTES: Final = 65_536
GRACE_S: Final = 5
VARIABLE: Final = "KOUNTER_GATEWAY__LISTEN"


def gateway() -> None:
    """Serve states, lists, timelines and health over HTTP, with documentation under /docs.

    Beyond loopback it refuses to start without KOUNTER_GATEWAY__TOKEN.
    """
    settings = connected_settings()
    check_exposure(settings.gateway)
    logs.set_up(settings.log_level)
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    domains = list(DOMAINS.values())
    aggregates = [aggregate for domain in domains for aggregate in domain.aggregates]
    layouts, listings = ({a.topic: a.layout for a in aggregates}, {a.topic: a.listing for a in aggregates})
    view = View(settings.data_dir / "view" / "view.sqlite", layouts, listings)
    try:
        async with open_reader() as topics, contextlib.AsyncExitStack() as stack:
            commands = [topic for topic in CRM.sources if topic.endswith(".commands")]
            await ready(settings, topics.serde, topics_of(domains), commands)
            feeder = ViewFeeder(settings.kafka, domains, view)
            bus = await _bus(settings, topics.serde, stack)
            users = UserService(bus, feeder, view, await _stages(settings, stack))
            reader = ViewReader(view, feeder, topics, domains, settings.nest.queue)
            app = create_app(resources(domains), reader, settings.gateway.tokens(), users, statuses(domains))
            async with guarded(settings, topics.serde):
                await _listen(settings, app, feeder, bus)
    finally:
        # A thread that is cancelled goes on: SQLite must not be closed under it, or the process dies of SIGSEGV.
        await asyncio.get_running_loop().shutdown_default_executor()
        view.close()


async def _bus(settings: Settings, serde: Serde, stack: contextlib.AsyncExitStack) -> CommandClient:
    """Commands to the crm domain, whose topics are there."""
    producer = await stack.enter_async_context(RecordProducer(settings.kafka, serde, "kounter/gateway"))
    return CommandClient(settings.kafka, serde, producer, REPLIES)


async def _stages(settings: Settings, stack: contextlib.AsyncExitStack) -> StagesOf:
    """The portal's own stages; while none can be asked, none: the rules then know Bitrix24's own five."""
    try:
        portal = with_twin(settings.bitrix24, RunFile(settings.data_dir))
    except BrokenSetup:
        client = None
    else:
        same = await stack.enter_async_context(same_portal(settings, portal))
        await same.begin()
        client = Stages(same)

    async def stages() -> tuple[str, ...]:
        try:
            return () if client is None else tuple(await client.all())
        except (DeliveryError, BrokenSetup) as error:
            logger.warning("the portal's stages can't be read: {}", error.message)
            return ()

    return stages


async def _listen(settings: Settings, app: FastAPI, feeder: ViewFeeder, bus: CommandClient) -> None:
    """Until told to stop, or until the view can't be fed: what is stale is not served."""
    sockets = _bound(settings)
    config = uvicorn.Config(
        app, http=PatientProtocol, ws="none", log_config=None, access_log=False, server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES, timeout_graceful_shutdown=GRACE_S,
    )  # fmt: skip
    server = EndingServer(config)
    feeding = asyncio.create_task(together(feeder.run(), bus.run()))
    feeding.add_done_callback(lambda _: setattr(server, "should_exit", True))
    addresses = [f"http://{_authority(*s.getsockname()[:2])}" for s in sockets]
    run = RunFile(settings.data_dir)
    run.add("gateway", addresses[0])
    logger.info("gateway on {}", ", ".join(addresses))
    try:
        await server.serve(sockets=sockets)
    finally:
        run.remove("gateway")
        if feeding.done():
            feeding.result()
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


def _bound(settings: Settings) -> list[socket.socket]:
    """All addresses; of the default ones the first suffices. Raises BrokenSetup."""
    first, *others = settings.gateway.listen
    sockets = [bind(first, VARIABLE)]
    for address in others:
        try:
            sockets.append(bind(address, VARIABLE))
        except BrokenSetup as error:
            if "listen" in settings.gateway.model_fields_set:
                raise
            logger.warning("{}", error.message)
    return sockets


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
