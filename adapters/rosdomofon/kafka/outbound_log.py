"""What already stands on ``MESSAGES_OUT_<company>``: looked at before a message is said that may have been said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from aiokafka.structs import ConsumerRecord, TopicPartition
from loguru import logger

from adapters.rosdomofon.backlog import read_to_end, seek_to_time
from adapters.rosdomofon.kafka.errors import failed
from adapters.rosdomofon.kafka.models import Place
from adapters.rosdomofon.settings import RosDomofonKafkaSettings
from schemas.errors import DeliveryUnavailable
from streams.kafka.batches.headers import UnreadableBatch

EARLIER_MS: Final = 60_000
"""It is read from so long before the moment that is asked for: commands that a crash cut are asked for out of order."""
KEPT_S: Final = 300.0
"""What was read is forgotten after so long, however often it is asked for: it grows with all that is said."""
LOG_APPEND_TIME: Final = 1


class SentLog:
    """One topic's, read when it is asked for: first from a moment on, then only what is new."""

    def __init__(self, settings: RosDomofonKafkaSettings, topic: str) -> None:
        self._settings, self._topic = settings, topic
        self._asking = asyncio.Lock()
        self._consumer: Any = None
        self._since: int | None = None
        self._asked = self._rewound = 0.0
        self._denied = False
        self._found: dict[bytes, list[tuple[int, int, Place]]] = {}

    async def find(
        self, partitions: Iterable[int], value: bytes, at_ms: int, behind: Place | None = None
    ) -> Place | None:
        """The record of these bytes with this time; on a topic where the brokers set it, one not older.

        ``behind``: a place in its partition that it can only stand behind.

        A cluster that does not let us read there knows of none. Raises DeliveryUnavailable or DeliveryDenied.
        """
        if self._denied:
            return None
        asked = time.monotonic()
        try:
            async with self._asking:
                if self._since is None or at_ms < self._since or self._asked <= asked:  # many ask at once after a crash
                    await self._read([TopicPartition(self._topic, p) for p in partitions], at_ms)
        except TopicAuthorizationFailedError:
            self._denied = True
            logger.warning("rosdomofon kafka: {} can't be read: a message may be said twice", self._topic)
            return None
        except KafkaError as error:
            raise failed(f"looking into {self._topic}", error) from error
        except UnreadableBatch as error:  # it may stand in there
            raise DeliveryUnavailable(error.message, hint=error.hint) from error
        for kind, said_ms, place in self._found.get(value, ()):
            if behind is not None and place[:2] == behind[:2] and place.offset <= behind.offset:
                continue
            if said_ms >= at_ms if kind == LOG_APPEND_TIME else said_ms == at_ms:
                return place
        return None

    async def close(self) -> None:
        """Let go of the cluster."""
        if self._consumer is not None:
            await self._consumer.stop()
            self._consumer = None

    async def _read(self, tps: list[TopicPartition], at_ms: int) -> None:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                **self._settings.client_options(), enable_auto_commit=False, auto_offset_reset="earliest"
            )
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
            self._consumer = consumer
            self._since = None
        begun = time.monotonic()
        if self._since is None or at_ms < self._since or begun - self._rewound > KEPT_S:
            self._found.clear()
            self._since = None
            self._consumer.assign(tps)
            await seek_to_time(self._consumer, tps, at_ms - EARLIER_MS)
            self._since, self._rewound = at_ms - EARLIER_MS, begun
        async for record in read_to_end(self._consumer, tps):
            self._keep(record)
        self._asked = begun

    def _keep(self, record: ConsumerRecord) -> None:
        place = Place(record.topic, record.partition, record.offset)
        self._found.setdefault(record.value or b"", []).append((record.timestamp_type, record.timestamp, place))
