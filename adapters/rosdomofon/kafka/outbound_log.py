"""Records on ``MESSAGES_OUT_<company>``, looked up before a message is sent that may have been sent already."""

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
"""Time before the requested one from which the topic is read: after a crash commands are retried out of order."""
KEPT_S: Final = 300.0
"""Time after which the records read are dropped and read again: they grow with all messages of the company."""
LOG_APPEND_TIME: Final = 1


class OutboundLog:
    """The records of one topic, read on demand: first from a time on, then only new ones."""

    def __init__(self, settings: RosDomofonKafkaSettings, topic: str) -> None:
        self._settings, self._topic = settings, topic
        self._lock = asyncio.Lock()
        self._consumer: Any = None
        self._since: int | None = None
        self._read_at = self._rewound_at = 0.0
        self._denied = False
        self._found: dict[bytes, list[tuple[int, int, Place]]] = {}

    async def find(
        self, partitions: Iterable[int], value: bytes, at_ms: int, behind: Place | None = None
    ) -> Place | None:
        """Return the place of the record with this value and time; if the brokers set the times, of one not older.

        ``at_ms``: milliseconds since the epoch. ``behind``: a place that the record must follow in its partition. If
        reading the topic is denied, no record is found. Raises DeliveryUnavailable or DeliveryDenied.
        """
        if self._denied:
            return None
        called_at = time.monotonic()
        try:
            async with self._lock:
                # After a crash many commands are looked up at once: one read serves all that waited for it.
                if self._since is None or at_ms < self._since or self._read_at <= called_at:
                    await self._read([TopicPartition(self._topic, p) for p in partitions], at_ms)
        except TopicAuthorizationFailedError:
            self._denied = True
            logger.warning("rosdomofon kafka: reading {} is denied: a message may be sent twice", self._topic)
            return None
        except KafkaError as error:
            raise failed(f"reading {self._topic}", error) from error
        except UnreadableBatch as error:  # the record may be in that batch
            raise DeliveryUnavailable(error.message, hint=error.hint) from error
        for time_type, time_ms, place in self._found.get(value, ()):
            if behind is not None and place[:2] == behind[:2] and place.offset <= behind.offset:
                continue
            if time_ms >= at_ms if time_type == LOG_APPEND_TIME else time_ms == at_ms:
                return place
        return None

    async def close(self) -> None:
        """Close the connection to the cluster."""
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
        now = time.monotonic()
        if self._since is None or at_ms < self._since or now - self._rewound_at > KEPT_S:
            self._found.clear()
            self._since = None
            self._consumer.assign(tps)
            await seek_to_time(self._consumer, tps, at_ms - EARLIER_MS)
            self._since, self._rewound_at = at_ms - EARLIER_MS, now
        async for record in read_to_end(self._consumer, tps):
            self._add(record)
        self._read_at = now

    def _add(self, record: ConsumerRecord) -> None:
        place = Place(record.topic, record.partition, record.offset)
        self._found.setdefault(record.value or b"", []).append((record.timestamp_type, record.timestamp, place))
