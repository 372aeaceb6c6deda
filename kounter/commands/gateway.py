"""``kounter gateway``: HTTP for readers."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import Final

import uvicorn
from fastapi import FastAPI
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
MAX_CONNECTIONS: Final = 256
GRACE_S: Final = 5


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
    try:
        async with open_reader() as topics:
            feeder = Feeder(settings.kafka, domains, view)
            app = create_app(resources(domains), ViewReader(view, feeder, topics, domains), settings.gateway.token)
            await _listen(settings, app, feeder)
    finally:
        view.close()


async def _listen(settings: Settings, app: FastAPI, feeder: Feeder) -> None:
    """Until told to stop, or until the view can't be fed: what is stale is not served."""
    sockets = [_bind(address) for address in settings.gateway.listen]
    config = uvicorn.Config(
        app, http="h11", log_config=None, access_log=False, server_header=False, limit_concurrency=MAX_CONNECTIONS,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES, timeout_graceful_shutdown=GRACE_S,
    )  # fmt: skip
    server = uvicorn.Server(config)
    feeding = asyncio.create_task(feeder.run())
    feeding.add_done_callback(lambda _: setattr(server, "should_exit", True))
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, signal.SIG_IGN)  # while it serves uvicorn has its own; it raises them again at the end
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


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bind(address: str) -> socket.socket:
    """A listening socket. Raises BrokenSetup if the address can't be had."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        return socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise BrokenSetup(
            f"the gateway can't listen on {address}: {error.strerror}",
            hint="Stop what uses the port, or set KOUNTER_GATEWAY__LISTEN to another one.",
        ) from None
