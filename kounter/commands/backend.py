"""``kounter backend``: the estate's changes for the main backend, as a numbered log."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from functools import partial
from typing import Any, Final

from loguru import logger

from adapters.backend.access import check_exposure
from adapters.backend.readers import Readers
from adapters.backend.server import serving
from kounter.embedded.runfile import RunFile
from kounter.process.identity import check_kafka, guarded
from kounter.process.runner import on_stop, open_serde, run
from kounter.process.shutdown import end_within
from kounter.process.sockets import bind
from kounter.settings import Settings
from schemas.backend import CHANGES, EVENTS
from schemas.codec.serde import Serde
from schemas.errors import BrokenSetup
from streams.backend_log.feeder import LogFeeder
from streams.backend_log.topics import log_topics
from streams.backend_log.writer import LogWriter
from streams.collector import settle_collector
from streams.resilience import together
from streams.topology import topics_of
from tables.event_log import EventLog

NAME: Final = "backend"
VARIABLE: Final = "KOUNTER_BACKEND__LISTEN"


def backend() -> None:
    """Number the changes of the estate, parents first, and serve them to the main backend over WebSocket and Socket.IO.

    Start several for more safety, each with a data folder of its own: one numbers, the others stand by, and each serves
    any client. Exits with 64 if the setup is broken, 69 if Kafka or the registry can't be reached at the start.
    """
    run(_backend)


async def _backend(settings: Settings) -> None:
    if not settings.backend.enabled:
        raise BrokenSetup(
            "no changes are sent to a main backend", hint="Set KOUNTER_BACKEND__ENABLED=true, for the workers too."
        )
    check_exposure(settings.backend)
    working = asyncio.current_task()
    assert working is not None
    on_stop(partial(_stop, working))
    listener = bind(settings.backend.listen, VARIABLE)
    try:
        async with open_serde(settings, [*topics_of([]), *log_topics()], [CHANGES, EVENTS]) as serde:
            log = EventLog(settings.data_dir / NAME / "log.sqlite")
            try:
                await _serve(settings, serde, log, listener)
            finally:
                # SQLite must not be closed under a thread that still reads.
                await asyncio.get_running_loop().shutdown_default_executor()
                log.close()
    except asyncio.CancelledError:
        logger.info("stopped")
    finally:
        listener.close()


async def _serve(settings: Settings, serde: Serde, log: EventLog, listener: Any) -> None:
    writer = LogWriter(
        settings.kafka, serde, settings.data_dir,
        wait_s=settings.backend.wait_s,
        session_ms=int(settings.lane.session_timeout_s * 1_000),
        whose=partial(check_kafka, settings),
    )  # fmt: skip
    feeder = LogFeeder(settings.kafka, serde, log, lambda: readers.wake())
    readers = Readers(log, feeder.catch_up)

    def state() -> dict[str, Any]:
        return {
            "reading": feeder.is_reading,
            "seat": writer.has_seat,
            **(asdict(writer.stats) if writer.has_seat else {}),
        }

    host, port, *_ = listener.getsockname()
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    run_file = RunFile(settings.data_dir)
    async with guarded(settings, serde), serving(settings.backend, readers, state, listener):
        run_file.add(NAME, address)
        settle_collector()
        logger.info("the log for the main backend is on {}", address)
        try:
            await together(writer.run(), feeder.run())
        finally:
            run_file.remove(NAME)


def _stop(working: asyncio.Task[Any]) -> None:
    end_within()
    working.cancel()
