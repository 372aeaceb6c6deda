"""``kounter gateway``: HTTP for readers."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

import uvicorn
from loguru import logger

from adapters.gateway.app import check_exposure, create_app
from kounter import logs
from kounter.connect import connected_settings
from kounter.embedded.runfile import RunFile
from kounter.gateway import ViewReader, resources
from kounter.reader import open_reader
from kounter.settings import Settings
from schemas.errors import BrokenSetup
from streams.domains import DOMAINS
from streams.feeder import Feeder
from streams.topics import ensure_topics, topics_of
from tables.view import View

MAX_HEAD_BYTES: Final = 65_536


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
    await ensure_topics(settings.kafka, topics_of(domains))
    layouts = {a.topic: a.layout for domain in domains for a in domain.aggregates}
    view = View(settings.data_dir / "view" / "view.sqlite", layouts)
    feeder = Feeder(settings.kafka, domains, view)
    async with open_reader() as topics:
        app = create_app(resources(domains), ViewReader(view, feeder, topics, domains), settings.gateway.token)
        sockets = [_bind(address) for address in settings.gateway.listen]
        feeding = asyncio.create_task(feeder.run())
        server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, access_log=False, h11_max_incomplete_event_size=MAX_HEAD_BYTES)
        )
        addresses = [f"http://{host}:{port}" for host, port in (s.getsockname()[:2] for s in sockets)]
        RunFile(settings.data_dir).add("gateway", addresses[0])
        logger.info("gateway on {}", ", ".join(addresses))
        try:
            await server.serve(sockets=sockets)
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            view.close()


def _bind(address: str) -> socket.socket:
    """A listening socket. Raises BrokenSetup if the address can't be had."""
    host, _, port = address.rpartition(":")
    try:
        return socket.create_server((host.strip("[]"), int(port)))
    except OSError as error:
        raise BrokenSetup(
            f"the gateway can't listen on {address}: {error.strerror}",
            hint="Stop what uses the port, or set KOUNTER_GATEWAY__LISTEN to another one.",
        ) from None
