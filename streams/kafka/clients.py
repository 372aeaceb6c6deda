"""Functions that aiokafka's clients have under private names only. See `streams.kafka.private_api`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder
from loguru import logger


def append_all(batch: BatchBuilder, entries: Sequence[Any], start: int) -> int:
    """Put entries (key, value, headers, timestamp) from ``start`` on into a new batch. Returns their number: at least
    one, however large.

    It does as `BatchBuilder.append`, without its three calls and a result object for each record.
    """
    append, count = batch._builder.append, 0
    for key, value, headers, timestamp in islice(entries, start, None):
        if append(count, timestamp, key=key, value=value, headers=headers) is None:
            break
        count += 1
    batch._relative_offset = count
    return count


def check_group(consumer: AIOKafkaConsumer) -> None:
    """Raise the error of a consumer's group, a KafkaError. aiokafka neither sends heartbeats nor joins again until the
    error is looked at; only polls look, and a consumer that holds back does not poll.
    """
    consumer._coordinator.check_errors()


def hear_heartbeats(consumer: AIOKafkaConsumer, heard: Callable[[], None]) -> None:
    """Have ``heard`` called for each heartbeat that the group of a started consumer has answered."""
    coordinator = consumer._coordinator
    beat = coordinator._do_heartbeat

    async def beating() -> bool:
        answered = bool(await beat())
        if answered:
            heard()
        return answered

    coordinator._do_heartbeat = beating


def quiet_fences(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log the errors of a fence that aiokafka sets on futures of its own, which nothing awaits: asyncio would print
    each of them.
    """
    if isinstance(error := context.get("exception"), KafkaError):
        logger.debug("{}: {!r}", context["message"], error)
    else:
        loop.default_exception_handler(context)
