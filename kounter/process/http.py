"""An HTTP server inside a long process: the gateway, and the webhook of a source."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine, Sequence
from typing import Any

import uvicorn
from loguru import logger

from kounter.embedded.runfile import RunFile
from kounter.gateway.server import MAX_CONNECTIONS, PatientProtocol
from kounter.process.shutdown import EndingServer


async def serve_http(
    app: Any,
    sockets: Sequence[socket.socket],
    run_file: RunFile,
    name: str,
    beside: Coroutine[Any, Any, None],
    *,
    grace_s: int,
    **options: Any,
) -> None:
    """Serve ``app`` until an order to stop, or until ``beside`` ends. Raises its error.

    The process is in the run file meanwhile. Requests in flight may take ``grace_s`` seconds after the order.
    """
    config = uvicorn.Config(
        app, http=PatientProtocol, ws="none", log_config=None, access_log=False, server_header=False,
        limit_concurrency=MAX_CONNECTIONS, timeout_graceful_shutdown=grace_s, **options,
    )  # fmt: skip
    server = EndingServer(config)
    working = asyncio.create_task(beside)
    working.add_done_callback(lambda _: setattr(server, "should_exit", True))
    addresses = [f"http://{_authority(*s.getsockname()[:2])}" for s in sockets]
    run_file.add(name, addresses[0])
    logger.info("{} on {}", name, ", ".join(addresses))
    try:
        await server.serve(sockets=list(sockets))
    finally:
        run_file.remove(name)
        if working.done():
            working.result()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
