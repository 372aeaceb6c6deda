"""The topics that Kounter needs: created before any lane starts, and checked at every start.

A producer that meets a new topic without a leader loses 15 s; a changelog that is not compacted grows for ever and one
that is not kept loses state; a source with a retention loses records that were not read in time; topics of a domain
with other partition counts tear its keys apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import LeaderNotAvailableError, TopicAlreadyExistsError, for_code
from loguru import logger

from schemas.errors import BrokenSetup
from streams.kafka.retention import FOR_EVER, check_kept, configs
from streams.kafka.settings import KafkaSettings

LEADER_WAIT_S: Final = 15.0
KEPT: Final = {"cleanup.policy": "delete", **FOR_EVER}
DAY_MS: Final = 86_400_000
REPLIES: Final = {"cleanup.policy": "delete", "retention.ms": str(DAY_MS), "segment.ms": str(DAY_MS)}
"""Settings of topics of replies. A caller waits for a reply for some seconds, and it is never folded. A day leaves time
to look at it. Brokers delete whole segments, and begin a new one after a week unless ``segment.ms`` is less.
"""
COMPACTED: Final = {"cleanup.policy": "compact", "delete.retention.ms": str(7 * 86_400_000)}
"""Settings of changelogs. A deletion is kept for a week: a local store or view that was away for less reads it, older
ones are built again.
"""
DEAD_LETTERS: Final = {**KEPT, "max.message.bytes": str(3 << 20)}
"""Settings of dead letters. A dead letter is a whole record with more headers: it must fit where the record did."""

REMEMBERED: Final = {**COMPACTED, "max.message.bytes": str(3 << 20)}
"""Settings of deliveries' changelogs: a parked command is such a whole record, too."""


class Topic(NamedTuple):
    """A topic and the settings that matter for it."""

    name: str
    config: dict[str, str]
    partitions: int | None = None
    """None: as many as `KafkaSettings.partitions`."""


async def ensure_topics(kafka: KafkaSettings, topics: list[Topic]) -> list[str]:
    """Create the topics that are missing, check the others. Returns the names of the new ones.

    Raises BrokenSetup if one has another partition count or cleanup policy than its use needs, deletes records, or
    can't be created; KafkaError while too few brokers are there, as more may come.
    """
    admin = AIOKafkaAdminClient(**kafka.client_options(), request_timeout_ms=15_000)
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        made = await _create(admin, kafka, [topic for topic in topics if topic.name not in existing])
        wanted = {topic.name: topic.partitions or kafka.partitions for topic in topics}
        _check_counts(await partitions_of(admin, wanted), wanted)
        await _check_policies(admin, kafka, [topic for topic in topics if topic.name in existing])
        return made
    finally:
        await admin.close()


async def _create(admin: Any, kafka: KafkaSettings, topics: list[Topic]) -> list[str]:
    if not topics:
        return []
    common = {"min.insync.replicas": str(kafka.min_insync_replicas)}
    new = [
        NewTopic(t.name, t.partitions or kafka.partitions, kafka.replication_factor, topic_configs=common | t.config)
        for t in topics
    ]
    answer = await admin.create_topics(new)
    made = []
    for name, code, *rest in answer.topic_errors:
        error = for_code(code)
        if code == 0:
            made.append(name)
        elif error is not TopicAlreadyExistsError:  # another process was first: fine
            why = f"topic {name} can't be made: {rest[0] if rest and rest[0] else error.__name__}"
            raise error(why) if error.retriable else BrokenSetup(why)
    if made:
        logger.info("made topics: {}", ", ".join(made))
    return made


async def partitions_of(admin: Any, names: Collection[str]) -> dict[str, list[int]]:
    """Returns the partitions of topics, once each of them has a leader: a topic has none in the moment after its
    creation. Raises LeaderNotAvailableError that names the topics after `LEADER_WAIT_S` seconds.
    """
    if not names:  # Kafka takes an empty list for all topics
        return {}
    deadline = asyncio.get_running_loop().time() + LEADER_WAIT_S
    while True:
        described = {topic["topic"]: topic for topic in await admin.describe_topics(sorted(names))}
        leaderless = [
            name
            for name in sorted(names)
            if (topic := described.get(name)) is None
            or topic["error_code"] != 0
            or not topic["partitions"]
            or any(p["leader"] < 0 for p in topic["partitions"])
        ]
        if not leaderless:
            return {name: sorted(p["partition"] for p in described[name]["partitions"]) for name in names}
        if asyncio.get_running_loop().time() > deadline:
            raise LeaderNotAvailableError(f"no leader for {', '.join(leaderless)}: check that enough brokers run")
        await asyncio.sleep(0.1)


def _check_counts(found: Mapping[str, Sequence[int]], wanted: Mapping[str, int]) -> None:
    for name, partitions in found.items():
        if len(partitions) != wanted[name]:
            raise BrokenSetup(
                f"topic {name} has {len(partitions)} partitions, {wanted[name]} are set",
                hint="All topics of a domain need as many. Set KOUNTER_KAFKA__PARTITIONS, or recreate the topic.",
            )


async def _check_policies(admin: Any, kafka: KafkaSettings, topics: list[Topic]) -> None:
    wanted = {topic.name: topic.config["cleanup.policy"] for topic in topics}
    found = await configs(admin, list(wanted))
    for name, values in found.items():
        policy = values.get("cleanup.policy", wanted[name])
        if policy != wanted[name]:
            raise BrokenSetup(
                f"topic {name} has cleanup.policy={policy}, it must be {wanted[name]}",
                hint=f"kafka-configs --alter --entity-type topics --entity-name {name} "
                f"--add-config cleanup.policy={wanted[name]}",
            )
    # Topics that are made to delete records may do so, and those of a version that kept replies for ever may keep them.
    kept = {topic.name for topic in topics if topic.config.items() >= KEPT.items()}
    check_kept({name: found[name] for name in found if name in kept}, kafka.retention)


def group_of(channel: str) -> str:
    """Returns the consumer group that executes the commands of a channel."""
    return f"delivery-{channel}"


def changelog_of(group: str) -> str:
    """Returns the changelog of a delivery's group."""
    return f"{group}-changelog"
