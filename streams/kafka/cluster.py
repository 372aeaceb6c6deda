"""Which Kafka answers: a cluster's id, which no other one has."""

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
    """Of what answers at these addresses; empty if it does not say. Raises KafkaError."""
    admin = AIOKafkaAdminClient(**kafka.client_options(), request_timeout_ms=TIMEOUT_MS)
    try:
        await admin.start()
        return await _ask(admin)
    finally:
        await admin.close()


async def keep_asking(kafka: KafkaSettings, check: Callable[[str], object], every_s: float = EVERY_S) -> None:
    """Have ``check`` told again and again, until it raises: who was cut off and comes back may meet another cluster."""
    while True:
        admin = AIOKafkaAdminClient(**kafka.client_options(), request_timeout_ms=TIMEOUT_MS)
        try:
            await admin.start()
            while True:
                check(await _ask(admin))
                await asyncio.sleep(every_s)
        except (KafkaError, OSError, TimeoutError):  # away: that is told by those who need it
            await asyncio.sleep(every_s)
        finally:
            with suppress(KafkaError, OSError):
                await admin.close()


async def _ask(admin: AIOKafkaAdminClient) -> str:
    return str((await admin.describe_cluster())["cluster_id"] or "")
