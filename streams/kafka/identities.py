"""Identities of the outside systems to which this Kafka's history belongs: one record a system, in a topic.

They are in Kafka, beside the commands and positions that are only right for them. So a process on any machine, with any
data folder, that is configured for another portal finds that out before it makes a call there.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, Final

import orjson
from aiokafka.errors import KafkaError, ProducerFenced, UnknownError
from aiokafka.structs import TopicPartition
from loguru import logger

from schemas.errors import BrokenSetup
from streams.kafka.clients import quiet_fences
from streams.kafka.reader import TopicReader
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import ProducerRecord, TransactionalWriter

TOPIC: Final = "identities"
"""A compacted topic. All records are in its first partition, in the order in which they were decided."""
TRIES: Final = 20
PAUSE_S: Final = 0.5

Identity = dict[str, Any]
Decide = Callable[[Identity | None], Identity | None]
"""Function from the present identity to the new one. Raises BrokenSetup if the present one is another system's."""


async def read(kafka: KafkaSettings, system: str) -> Identity | None:
    """Returns the identity of a system. Raises KafkaError, BrokenSetup if it can't be read."""
    found: bytes | None = None
    async with TopicReader(kafka) as topics:
        if not await topics.has(TOPIC):
            return None
        async for record in topics.read(TOPIC, partitions=[0]):
            if record.key == system.encode():
                found = record.value
    return None if found is None else _parse(system, found)


async def settle(kafka: KafkaSettings, system: str, decide: Decide) -> None:
    """Call ``decide`` with the present identity, and keep its result. Of two that decide in the same moment the later
    one gets the decision of the earlier one. Raises what ``decide`` raises, and KafkaError.
    """
    before = await read(kafka, system)
    if decide(before) == before:
        return
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(loop.get_exception_handler() or quiet_fences)
    for tries_left in reversed(range(TRIES)):
        writer = TransactionalWriter(kafka, TOPIC, 0)
        try:
            await writer.start()  # from here on another's decision counts only if it is written already
            known = await read(kafka, system)
            if (wanted := decide(known)) != known:
                entry = ProducerRecord(system.encode(), None if wanted is None else orjson.dumps(wanted))
                await writer.commit(TOPIC, {TOPIC: [entry]}, {TopicPartition(TOPIC, 0): 0})
            return
        except KafkaError as error:
            if not tries_left or not _is_taken(error):
                raise
            logger.debug("{}: another process decides in this moment: {!r}", system, error)
        finally:
            await writer.stop()
        await asyncio.sleep(random.uniform(0, PAUSE_S))
    raise KafkaError(f"{system}: it can't be decided whose it is")


def _is_taken(error: KafkaError) -> bool:
    """Return whether another process began a transaction under our id meanwhile.

    Kafka 4.3 answers with an unknown error if that comes in the same moment as a commit, see `docs/traps.md`. It has
    other causes, too; what was written is read again in any case. aiokafka gives it as the cause of its own error.
    """
    return isinstance(error, ProducerFenced | UnknownError) or isinstance(error.__cause__, UnknownError)


def _parse(system: str, value: bytes) -> Identity:
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise BrokenSetup(
            f"topic {TOPIC}: the record of {system} can't be read",
            hint=f"`kounter adopt {system}` writes it again, once you are sure that the right one is set.",
        )
    return found
