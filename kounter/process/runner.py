"""The start-up of every long process: settings, log, exit codes, Kafka and registry, order to stop, run file."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, Protocol

from aiokafka.errors import KafkaError
from loguru import logger

from kounter import logs, unexpected
from kounter.connect import connected_settings
from kounter.embedded.runfile import RunFile
from kounter.process.blocked import is_standing
from kounter.process.identity import guarded, ready
from kounter.process.shutdown import GRACE_S, end_within
from kounter.settings import Settings
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.errors import EXIT_BROKEN_SETUP, BrokenSetup, DeliveryDenied, KounterError
from streams.kafka.topics import Topic

EXIT_UNAVAILABLE: Final = 69
"""Exit code if Kafka, the registry or an outside system can't be reached: a supervisor starts the process again."""


class Process(Protocol):
    """A part of a process: a delivery, or the source of an outside system."""

    @property
    def ready(self) -> asyncio.Event:
        """The event that is set once it works."""

    async def run(self) -> None:
        """Work until `stop`."""

    def stop(self) -> None:
        """Let `run` end the work in flight and return."""


def run(serve: Callable[[Settings], Coroutine[Any, Any, None]], *, ends_when_denied: bool = False) -> None:
    """Run ``serve`` with the settings and the addresses of the running services, until it returns.

    Exits with 64 if a partition then stands at a batch that can't be unpacked, and as `exit_codes` describes.
    """
    with exit_codes(ends_when_denied=ends_when_denied):
        asyncio.run(serve(started()))
    if is_standing():
        sys.exit(EXIT_BROKEN_SETUP)


def started() -> Settings:
    """Returns the settings, and sets up the log. Raises BrokenSetup."""
    settings = connected_settings()
    logs.set_up(settings.log_level)
    return settings


@contextmanager
def exit_codes(*, ends_when_denied: bool = False) -> Iterator[None]:
    """Log an error of the block and exit: with 64 for an invalid configuration, with 69 if Kafka, the registry or an
    outside system can't be reached, with 1 for any other error.

    ``ends_when_denied``: exit with 64 also if an outside system denies access. That needs a person, and a supervisor
    would repeat the calls for ever.
    """
    try:
        yield
    except (BrokenSetup, DeliveryDenied) as error:
        if isinstance(error, DeliveryDenied) and not ends_when_denied:
            logger.error("{}", error)
            sys.exit(EXIT_UNAVAILABLE)
        logger.critical("{} {}", error.message, error.hint)
        sys.exit(EXIT_BROKEN_SETUP)
    except (KounterError, KafkaError, OSError) as error:
        logger.error("{}", error)
        sys.exit(EXIT_UNAVAILABLE)
    except ImportError:  # `kounter.__main__` explains it
        raise
    except Exception as error:
        logger.critical("{} {}", *unexpected.explained(error))
        sys.exit(1)


@asynccontextmanager
async def open_serde(settings: Settings, topics: list[Topic], written: Iterable[str]) -> AsyncIterator[Serde]:
    """Connect to the registry and prepare Kafka, see `kounter.process.identity.ready`. ``written`` are the topics that
    the process writes. Raises BrokenSetup, KafkaError, RegistryUnavailable."""
    async with SchemaRegistry(settings.registry) as registry:
        serde = Serde(registry)
        await ready(settings, serde, topics, written)
        yield serde


async def work(
    settings: Settings,
    serde: Serde,
    name: str,
    parts: Sequence[Process],
    *guards: Coroutine[Any, Any, None],
    drain_s: float = 0.0,
) -> None:
    """Run all parts until an order to stop, and put the process in the run file once all are ready.

    ``drain_s`` is the time that parts may take for the work in flight after that order, if any was ready. Raises the
    errors of the parts and of ``guards``.
    """

    def stop() -> None:
        is_working = any(part.ready.is_set() for part in parts)
        end_within(GRACE_S + (drain_s if is_working else 0.0))
        for part in parts:
            part.stop()

    on_stop(stop)
    noting = asyncio.create_task(_note_when_ready(RunFile(settings.data_dir), name, parts))
    running = [asyncio.create_task(part.run()) for part in parts]
    try:
        async with guarded(settings, serde, *guards):
            await asyncio.gather(*running)
    finally:
        for task in (noting, *running):
            task.cancel()
        await asyncio.gather(noting, *running, return_exceptions=True)


def on_stop(stop: Callable[[], None]) -> None:
    """Call ``stop`` at SIGTERM and SIGINT, in the running loop."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


async def _note_when_ready(run_file: RunFile, name: str, parts: Sequence[Process]) -> None:
    for part in parts:
        await part.ready.wait()
    run_file.add(name)
