"""Whose Kafka, registry and outside systems these are: compared at the start of each process, and while it runs.

A data folder belongs to one Kafka, as its local copies are of that. All else is kept in Kafka: see
`streams.kafka.identities` and `streams.kafka.registry_identity`.
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

from adapters.bitrix24.identity import SamePortal
from adapters.bitrix24.settings import Bitrix24Settings
from kounter.settings import Settings
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.errors import BrokenSetup, RegistryUnavailable
from streams.domains import DOMAINS
from streams.kafka import identities, registry_identity
from streams.kafka.cluster import cluster_id, keep_asking
from streams.kafka.topics import Topic, ensure_topics
from streams.resilience import together
from streams.topology import topics_of

NAME: Final = "identities.json"
KAFKA: Final = "kafka"
PORTAL: Final = "bitrix24"
REGISTRY_EVERY_S: Final = 60.0


async def ready(settings: Settings, serde: Serde, topics: list[Topic], written: Iterable[str]) -> None:
    """What each process does first: its Kafka and registry are the right ones, topics are made, schemas prepared.

    Raises BrokenSetup, and KafkaError or RegistryUnavailable while one of them is away.
    """
    await check_kafka(settings)
    await ensure_topics(settings.kafka, topics)
    await registry_identity.prepare(settings.kafka, serde, [topic.name for topic in topics], written)


async def ready_to_write(settings: Settings, serde: Serde, topics: Collection[str]) -> None:
    """The same for a command that only adds records to topics which are there."""
    await check_kafka(settings)
    await registry_identity.check(settings.kafka, serde.registry, topics)
    await serde.prepare(topics)


async def compared(settings: Settings) -> None:
    """The same, before any process is started; nothing is made. Raises as `ready`."""
    await check_kafka(settings)
    async with SchemaRegistry(settings.registry) as registry:
        await registry_identity.check(settings.kafka, registry, [topic.name for topic in topics_of(DOMAINS.values())])


async def check_kafka(settings: Settings) -> None:
    """Raises BrokenSetup if the data folder belongs to another Kafka; a new folder belongs to this one from now on."""
    compare(settings, await cluster_id(settings.kafka))


def same_portal(settings: Settings, portal: Bitrix24Settings) -> SamePortal:
    """A client of the portal that the commands of this Kafka are carried out in, and of no other one."""
    return SamePortal(portal, partial(identities.settle, settings.kafka, PORTAL))


async def has_moved(settings: Settings) -> bool:
    """Whether `kounter adopt portal` has left another portal, where ids of leads were learned."""
    return bool((await identities.read(settings.kafka, PORTAL) or {}).get("moved"))


def compare(settings: Settings, came: str) -> None:
    """The same of a cluster's id that is known already."""
    expected = of_folder(settings.data_dir) or (note(settings.data_dir, came) if came else "")
    if came and came != expected:
        folder, servers = settings.data_dir, settings.kafka.bootstrap_servers
        raise BrokenSetup(
            f"another Kafka: the data folder {folder} belongs to the cluster {expected}, at {servers} is {came}",
            hint="Set KOUNTER_KAFKA__BOOTSTRAP_SERVERS to its own Kafka, or KOUNTER_DATA_DIR to the folder of this "
            "one, or to a new one. To move the folder to this Kafka for good there is `kounter adopt kafka`.",
        )


def of_folder(data_dir: Path) -> str:
    """The cluster that a data folder belongs to; empty if it is new. Raises BrokenSetup if it can't be read."""
    path = data_dir / NAME
    try:
        return str(json.loads(path.read_text("utf-8"))[KAFKA])
    except FileNotFoundError:
        return ""
    except (ValueError, KeyError, TypeError):
        raise BrokenSetup(
            f"{path} can't be read", hint="`kounter adopt kafka` writes it anew, once the right Kafka is set."
        ) from None


def note(data_dir: Path, cluster: str, *, anew: bool = False) -> str:
    """The cluster that a folder belongs to: written once and whole, unless ``anew``. Returns what stands there."""
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
    """Kafka and registry, until cancelled. Raises BrokenSetup."""
    await together(keep_asking(settings.kafka, partial(compare, settings)), _keep_verifying(serde))


@asynccontextmanager
async def guarded(settings: Settings, serde: Serde, *more: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """While the block runs, Kafka and registry are compared; ``more`` do so with other systems. What any of them raises
    ends the block, and comes out of it."""
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
