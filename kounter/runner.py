"""A long process: its settings and log, its exit code, its order to stop, and its line in the run file."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final

import typer
from aiokafka.errors import KafkaError
from loguru import logger

from kounter import logs
from kounter.connect import connected_settings
from kounter.embedded.runfile import RunFile
from kounter.settings import Settings
from schemas.errors import EXIT_BROKEN_SETUP, BrokenSetup, DeliveryDenied, KounterError

EXIT_UNAVAILABLE: Final = 69
"""Exit code where Kafka or registry can't be reached: a supervisor starts the process again."""


def run(serve: Callable[[Settings], Coroutine[Any, Any, None]], *, ends_when_denied: bool = False) -> None:
    """Run ``serve`` with the settings of what runs here, until it returns.

    ``ends_when_denied``: an outside that denies us needs a person, as a broken setup does, and must not be hammered by
    a supervisor. Raises typer.Exit with 64 for either, with 69 if Kafka, registry or an outside can't be reached.
    """
    settings = connected_settings()
    logs.set_up(settings.log_level)
    try:
        asyncio.run(serve(settings))
    except (BrokenSetup, DeliveryDenied) as error:
        if isinstance(error, DeliveryDenied) and not ends_when_denied:
            logger.error("{}", error)
            raise typer.Exit(EXIT_UNAVAILABLE) from None
        logger.critical("{} {}", error.message, error.hint)
        raise typer.Exit(EXIT_BROKEN_SETUP) from None
    except (KounterError, KafkaError, OSError) as error:
        logger.error("{}", error)
        raise typer.Exit(EXIT_UNAVAILABLE) from None


def on_stop(stop: Callable[[], None]) -> None:
    """Call ``stop`` at SIGTERM and SIGINT, in the running loop."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


async def note_when_ready(run_file: RunFile, name: str, *ready: asyncio.Event) -> None:
    """Put the process in the run file once all of it is ready."""
    for event in ready:
        await event.wait()
    run_file.add(name)
