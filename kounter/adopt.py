"""Moving on purpose to another Kafka, registry or outside system: what is known of the old one is forgotten with it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from functools import partial
from typing import Any, Final, NamedTuple

import httpx
from aiokafka import AIOKafkaProducer
from aiokafka.structs import ConsumerRecord

from adapters.bitrix24.identity import same
from adapters.bitrix24.settings import Bitrix24Settings
from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.identity import BY_KAFKA, BY_REST, cluster_of, companies_of, of_cluster, of_company
from adapters.rosdomofon.settings import OperatorSettings
from kounter import identity
from kounter.embedded.runfile import RunFile
from kounter.settings import Settings
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.errors import BrokenSetup
from schemas.record import contracts, declare_all
from streams.delivery import ledger
from streams.domains import DOMAINS
from streams.kafka import identities, registry_identity
from streams.kafka.cluster import cluster_id
from streams.kafka.reader import TopicReader
from streams.kafka.settings import KafkaSettings
from streams.kafka.topics import changelog_of, ensure_topics, group_of
from streams.query.lag import LagMeter
from streams.topology import topics_of

LOCAL: Final = ("workers", "view", "delivery-*", "rosdomofon", "watch-*.json")
"""Of a data folder: copies of what stands in its Kafka, and how far it came there."""
LASTING: Final = ("kafka", "registry", "twin-")
"""Services that may run meanwhile: names, or their beginnings."""


class Move(NamedTuple):
    """From one to another. ``forgets``: in words."""

    before: str
    after: str
    forgets: str
    carry_out: Any
    """An async function without arguments."""


async def to_kafka(settings: Settings) -> Move | None:
    """The data folder to the Kafka that is set. None: it belongs to it already."""
    came = await cluster_id(settings.kafka)
    try:
        before = identity.of_folder(settings.data_dir)
    except BrokenSetup:
        before = "what can't be read"
    if came == before:
        return None
    running = [one.name for one in RunFile(settings.data_dir).read() if not one.name.startswith(LASTING)]
    if running:
        raise BrokenSetup(f"{', '.join(running)} run in {settings.data_dir}", hint="Stop them first.")
    found = [path for pattern in LOCAL for path in sorted(settings.data_dir.glob(pattern))]

    async def carry_out() -> None:
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        identity.note(settings.data_dir, came, anew=True)

    names = ", ".join(path.name for path in found) or "nothing"
    forgets = f"local copies in {settings.data_dir}: {names}. They are made anew from the topics of the new one."
    return Move(f"cluster {before or 'none'}", f"cluster {came}", forgets, carry_out)


async def to_registry(settings: Settings) -> Move | None:
    """Our topics to the registry that is set. None: it knows what stands on them."""
    declare_all()
    topics = topics_of(DOMAINS.values())
    await identity.check_kafka(settings)
    await ensure_topics(settings.kafka, topics)
    async with SchemaRegistry(settings.registry) as registry:
        try:
            await registry_identity.check(settings.kafka, registry, [topic.name for topic in topics])
        except BrokenSetup as error:
            problem = error.message
        else:
            return None

    async def carry_out() -> None:
        async with SchemaRegistry(settings.registry) as registry:
            await registry_identity.adopt(
                settings.kafka, Serde(registry), {topic for c in contracts() for topic in c.topics}
            )

    forgets = "ids of schemas by which the topics were written: records that it does not know can't be read any more"
    return Move(problem, "the registry that is set", forgets, carry_out)


async def to_portal(settings: Settings, portal: Bitrix24Settings) -> Move | None:
    """Our commands to the portal that is set. None: they are carried out there already."""
    await identity.check_kafka(settings)
    async with identity.same_portal(settings, portal) as client:
        known = await _known(settings.kafka, identity.PORTAL)
        came = await client.came((known or {}).get("leads", {}))
        if known is not None and same(known, came):
            return None
        came = await client.came({})
    group = group_of(identity.PORTAL)
    await _check_idle(settings.kafka, group)
    made = await in_ledger(settings.kafka, group)

    async def carry_out() -> None:
        await _forget(settings.kafka, made)
        for notes in settings.data_dir.glob("watch-*.json"):
            notes.unlink(missing_ok=True)
        await identities.settle(settings.kafka, identity.PORTAL, lambda _: {**came, "moved": True})

    forgets = (
        f"ids of {len(made)} leads that were made there, and all that commands name: each lead is looked for by its "
        "origin, or made, in the new one. `kounter audit bitrix24 --heal` then sends the cards that are not touched."
    )
    return Move(str((known or {}).get("host", "none")), str(came["host"]), forgets, carry_out)


async def to_operator(settings: Settings, operator: OperatorSettings) -> Move | None:
    """Bridge and commands to the operator that is set. None: it is that one already."""
    await identity.check_kafka(settings)
    cluster, host, companies = await cluster_of(operator), httpx.URL(operator.base_url).host, dict[str, str]()
    if operator.username:
        async with RosDomofonAPI(operator) as api:
            companies = await companies_of(api)
    by_kafka, by_rest = await _known(settings.kafka, BY_KAFKA), await _known(settings.kafka, BY_REST)
    try:
        of_cluster(by_kafka, cluster)
        of_company(by_rest, host, companies)
    except BrokenSetup as error:
        problem = error.message
    else:
        return None
    groups = [group_of(name) for name in ("rosdomofon", "rosdomofon-rest")]
    for group in groups:
        await _check_idle(settings.kafka, group)
    made = [record for group in groups for record in await in_ledger(settings.kafka, group)]

    async def carry_out() -> None:
        await _forget(settings.kafka, made)
        shutil.rmtree(settings.data_dir / "rosdomofon", ignore_errors=True)
        await identities.settle(settings.kafka, BY_KAFKA, lambda _: of_cluster(None, cluster))
        await identities.settle(settings.kafka, BY_REST, lambda _: of_company(None, host, companies))

    forgets = f"{len(made)} notes of what was said there, and what the comparison has seen"
    return Move(problem, f"{host}, cluster {cluster}", forgets, carry_out)


async def to_feed(settings: Settings, url: str) -> Move | None:
    """The position to the server that is set. None: it is that one already."""
    await identity.check_kafka(settings)
    system, host = f"feed-{settings.brusnika.source}", httpx.URL(url).host
    known = await _known(settings.kafka, system)
    if known is not None and known.get("host") == host:
        return None
    forgets = "nothing: it goes on from the same update_id. If the server counts anew, `kounter feed reset` comes next."
    carry_out = partial(identities.settle, settings.kafka, system, lambda _: {"host": host})
    return Move(str((known or {}).get("host", "none")), host, forgets, carry_out)


async def in_ledger(kafka: KafkaSettings, group: str) -> list[ConsumerRecord]:
    """Of a delivery: the latest record of each thing that it knows to be made, or perhaps made."""
    latest: dict[tuple[int, bytes], ConsumerRecord] = {}
    async with TopicReader(kafka) as topics:
        if not await topics.has(changelog_of(group)):
            return []
        async for record in topics.read(changelog_of(group)):
            place = record.partition, record.key or b""
            if place[1].startswith(ledger.PREFIX) and (place not in latest or latest[place].offset < record.offset):
                latest[place] = record
    return [record for record in latest.values() if record.value is not None]


async def _forget(kafka: KafkaSettings, records: Iterable[ConsumerRecord]) -> None:
    producer = AIOKafkaProducer(**kafka.client_options(), acks="all", enable_idempotence=True)
    await producer.start()
    try:
        for record in records:
            await producer.send(record.topic, None, record.key, record.partition)
        await producer.flush()
    finally:
        await producer.stop()


async def _check_idle(kafka: KafkaSettings, group: str) -> None:
    """Raises BrokenSetup while a delivery runs: it would go on with what it knows."""
    async with LagMeter(kafka) as meter:
        if members := (await meter.of_group(group, [])).members:
            raise BrokenSetup(f"{len(members)} processes of {group} run", hint="Stop them, on all machines, first.")


async def _known(kafka: KafkaSettings, system: str) -> identities.Identity | None:
    """What can't be read is written anew."""
    try:
        return await identities.read(kafka, system)
    except BrokenSetup:
        return None
