"""``kounter gateway``: HTTP for readers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final

from fastapi import APIRouter
from loguru import logger

from adapters.bitrix24.connector import BITRIX24, same_portal
from adapters.bitrix24.stages import Stages
from adapters.envelope import private_key
from kounter.connectors import all_topics, connected
from kounter.embedded.runfile import RunFile
from kounter.gateway.app import create_app
from kounter.gateway.queue import queue_router
from kounter.gateway.reader import ViewReader, resources, statuses
from kounter.gateway.settings import check_exposure
from kounter.gateway.user_service import REPLIES, StagesOf, UserService
from kounter.history.reader import open_reader
from kounter.process.http import serve_http
from kounter.process.identity import guarded, ready
from kounter.process.runner import run
from kounter.process.sockets import bind
from kounter.settings import Settings
from schemas.codec.serde import Serde
from schemas.errors import BrokenSetup, DeliveryError
from schemas.record import outside_topics
from streams.domains import DOMAINS
from streams.domains.crm import CRM
from streams.kafka.producer import RecordProducer
from streams.query.command_client import CommandClient
from streams.query.view_feeder import ViewFeeder
from streams.resilience import together
from tables.view import View

MAX_HEAD_BYTES: Final = 65_536
GRACE_S: Final = 5
VARIABLE: Final = "KOUNTER_GATEWAY__LISTEN"


def gateway() -> None:
    """Serve states, lists, timelines and health over HTTP, with documentation under /docs.

    Beyond loopback it refuses to start without KOUNTER_GATEWAY__TOKEN. Exits with 64 if the configuration is invalid,
    69 if Kafka or the registry can't be reached at the start.
    """
    run(_serve)


async def _serve(settings: Settings) -> None:
    check_exposure(settings.gateway)
    domains = list(DOMAINS.values())
    aggregates = [aggregate for domain in domains for aggregate in domain.aggregates]
    layouts, listings = ({a.topic: a.layout for a in aggregates}, {a.topic: a.listing for a in aggregates})
    view = View(settings.data_dir / "view" / "view.sqlite", layouts, listings)
    try:
        async with open_reader() as topics, contextlib.AsyncExitStack() as stack:
            commands = [topic for topic in CRM.sources if topic.endswith(".commands")]
            await ready(settings, topics.serde, all_topics(), {*commands, *outside_topics()})
            feeder = ViewFeeder(settings.kafka, domains, view)
            bus = await _bus(settings, topics.serde, stack)
            users = UserService(bus, feeder, view, await _stages(settings, stack))
            reader = ViewReader(view, feeder, topics, domains, settings)
            tokens, queue = settings.gateway.tokens(), await _queue(settings, topics.serde, stack)
            app = create_app(resources(domains), reader, tokens, users, statuses(domains), queue)
            async with guarded(settings, topics.serde):
                sockets, run_file = _bound(settings), RunFile(settings.data_dir)
                # When these end, so does the server: no stale view is served.
                feeding = together(feeder.run(), bus.run())
                await serve_http(
                    app, sockets, run_file, "gateway", feeding,
                    grace_s=GRACE_S, h11_max_incomplete_event_size=MAX_HEAD_BYTES,
                )  # fmt: skip
    finally:
        # A cancelled thread continues: if SQLite is closed meanwhile, the process dies of SIGSEGV.
        await asyncio.get_running_loop().shutdown_default_executor()
        view.close()


async def _bus(settings: Settings, serde: Serde, stack: contextlib.AsyncExitStack) -> CommandClient:
    """Returns a client for commands to the crm domain."""
    producer = await stack.enter_async_context(RecordProducer(settings.kafka, serde, "kounter/gateway"))
    return CommandClient(settings.kafka, serde, producer, REPLIES)


async def _queue(settings: Settings, serde: Serde, stack: contextlib.AsyncExitStack) -> APIRouter:
    """Returns the routes of pushed changes. Raises BrokenSetup if the key's file can't be used."""
    path = settings.gateway.queue_key_file
    key = None if path is None else private_key(path, "KOUNTER_GATEWAY__QUEUE_KEY_FILE")
    source = f"{settings.brusnika.source}/queue"
    producer = await stack.enter_async_context(RecordProducer(settings.kafka, serde, source))
    return queue_router(producer.send_many, key, settings.gateway.tokens())


async def _stages(settings: Settings, stack: contextlib.AsyncExitStack) -> StagesOf:
    """Returns a function for the portal's own stages. It returns none while the portal can't be reached: the rules then
    use Bitrix24's own five."""
    try:
        context = connected(BITRIX24, settings)
    except BrokenSetup:
        client = None
    else:
        portal = await stack.enter_async_context(same_portal(context))
        await portal.begin()
        client = Stages(portal)

    async def stages() -> tuple[str, ...]:
        try:
            return () if client is None else tuple(await client.all())
        except (DeliveryError, BrokenSetup) as error:
            logger.warning("the portal's stages can't be read: {}", error.message)
            return ()

    return stages


def _bound(settings: Settings) -> list[socket.socket]:
    """Returns a socket for each address; of the default addresses the first suffices. Raises BrokenSetup."""
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
