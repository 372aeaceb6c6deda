"""The id of a Kafka cluster, which no other cluster has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.kafka.settings import KafkaSettings

EVERY_S: Final = 5.0
TIMEOUT_MS: Final = 15_000


async def cluster_id(kafka: KafkaSettings) -> str:
    """Returns the id of the cluster at these addresses, empty if it has none. Raises KafkaError."""
    admin = AIOKafkaAdminClient(**kafka.client_options(), request_timeout_ms=TIMEOUT_MS)
    try:
        await admin.start()
        return await _ask(admin)
    finally:
        await admin.close()


async def keep_asking(kafka: KafkaSettings, check: Callable[[str], object], every_s: float = EVERY_S) -> None:
    """Call ``check`` with the cluster's id every ``every_s`` seconds, until it raises: after an interruption another
    cluster may answer.
    """
    while True:
        admin = AIOKafkaAdminClient(**kafka.client_options(), request_timeout_ms=TIMEOUT_MS)
        try:
            await admin.start()
            while True:
                check(await _ask(admin))
                await asyncio.sleep(every_s)
        except (KafkaError, OSError, TimeoutError):  # away: those that need the cluster report it
            await asyncio.sleep(every_s)
        finally:
            with suppress(KafkaError, OSError):
                await admin.close()


async def _ask(admin: AIOKafkaAdminClient) -> str:
    return str((await admin.describe_cluster())["cluster_id"] or "")
