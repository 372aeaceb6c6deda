"""Checks that Kafka and registry are the known ones, at the start of each process and while it runs.

A data folder belongs to one Kafka, because its local copies were made from it. All other identities are kept in Kafka:
see `streams.kafka.identities` and `streams.kafka.registry_identity`.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Collection, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from kounter.connectors import all_topics
from kounter.settings import Settings
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.errors import BrokenSetup, RegistryUnavailable
from streams.kafka import registry_identity
from streams.kafka.cluster import cluster_id, keep_asking
from streams.kafka.topics import Topic, ensure_topics
from streams.resilience import together

NAME: Final = "identities.json"
KAFKA: Final = "kafka"
REGISTRY_EVERY_S: Final = 60.0


async def ready(settings: Settings, serde: Serde, topics: list[Topic], written: Iterable[str]) -> None:
    """Check Kafka and registry, create missing topics and register schemas, before a process does anything else.

    Raises BrokenSetup, and KafkaError or RegistryUnavailable while one of them is away.
    """
    await check_kafka(settings)
    await ensure_topics(settings.kafka, topics)
    await registry_identity.prepare(settings.kafka, serde, [topic.name for topic in topics], written)


async def ready_to_write(settings: Settings, serde: Serde, topics: Collection[str]) -> None:
    """Check Kafka and registry for a command that only adds records to existing topics. Raises as `ready`."""
    await check_kafka(settings)
    await registry_identity.check(settings.kafka, serde.registry, topics)
    await serde.prepare(topics)


async def compared(settings: Settings) -> None:
    """Check Kafka and registry before any process is started; nothing is created. Raises as `ready`."""
    await check_kafka(settings)
    async with SchemaRegistry(settings.registry) as registry:
        await registry_identity.check(settings.kafka, registry, [topic.name for topic in all_topics()])


async def check_kafka(settings: Settings) -> None:
    """Check the Kafka of the data folder; a new folder belongs to this one from now on.

    Raises BrokenSetup if it belongs to another one.
    """
    compare(settings, await cluster_id(settings.kafka))


def compare(settings: Settings, came: str) -> None:
    """Check the id of a cluster, see `check_kafka`; an empty one is not checked. Raises BrokenSetup."""
    expected = of_folder(settings.data_dir) or (note(settings.data_dir, came) if came else "")
    if came and came != expected:
        folder, servers = settings.data_dir, settings.kafka.bootstrap_servers
        raise BrokenSetup(
            f"another Kafka: the data folder {folder} belongs to the cluster {expected}, at {servers} is {came}",
            hint="Set KOUNTER_KAFKA__BOOTSTRAP_SERVERS to its own Kafka, or KOUNTER_DATA_DIR to the folder of this "
            "one, or to a new one. To move the folder to this Kafka for good there is `kounter adopt kafka`.",
        )


def of_folder(data_dir: Path) -> str:
    """Returns the id of the cluster that a data folder belongs to, empty if it is new.

    Raises BrokenSetup if the file can't be read.
    """
    path = data_dir / NAME
    try:
        return str(json.loads(path.read_text("utf-8"))[KAFKA])
    except FileNotFoundError:
        return ""
    except (ValueError, KeyError, TypeError):
        raise BrokenSetup(
            f"{path} can't be read", hint="`kounter adopt kafka` writes it again, once the right Kafka is set."
        ) from None


def note(data_dir: Path, cluster: str, *, anew: bool = False) -> str:
    """Write the id of the cluster that a folder belongs to: once and whole, unless ``anew``.

    Returns the id that the file holds.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=data_dir, prefix=NAME, encoding="utf-8") as file:  # its mode is 0600
        json.dump({KAFKA: cluster}, file)
        file.flush()
        os.fsync(file.fileno())
        if anew:
            (data_dir / NAME).unlink(missing_ok=True)
        with suppress(FileExistsError):
            os.link(file.name, data_dir / NAME)
    return of_folder(data_dir)


async def keep_comparing(settings: Settings, serde: Serde) -> None:
    """Check Kafka and registry until cancelled. Raises BrokenSetup."""
    await together(keep_asking(settings.kafka, partial(compare, settings)), _keep_verifying(serde))


@asynccontextmanager
async def guarded(settings: Settings, serde: Serde, *more: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Check Kafka and registry while the block runs; ``more`` check other systems. An error of any of them ends the
    block and is raised by it."""
    working = asyncio.current_task()
    watching = asyncio.create_task(together(keep_comparing(settings, serde), *more))
    assert working is not None
    watching.add_done_callback(lambda done: None if done.cancelled() else working.cancel())
    try:
        yield
    except asyncio.CancelledError:
        if watching.done() and not watching.cancelled():
            working.uncancel()
            watching.result()
        raise
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _keep_verifying(serde: Serde) -> None:
    while True:
        await asyncio.sleep(REGISTRY_EVERY_S)
        with suppress(RegistryUnavailable):
            await serde.verify()
