"""What integration tests of the lane share: worker processes, a producer, readers that know when a topic ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError
from aiokafka.protocol.group import LeaveGroupRequest
from aiokafka.structs import ConsumerRecord, TopicPartition

from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.codec.settings import RegistrySettings
from streams.aggregate import Domain
from streams.kafka.batches import passing
from streams.kafka.consumer import committed_consumer, read_to_end, started
from streams.kafka.partitioner import partition_of
from streams.kafka.producer import RecordProducer
from streams.kafka.settings import KafkaSettings
from streams.kafka.topics import ensure_topics
from streams.topology import topics_of
from tests.support.sessions import session_s

READY = "are ours"
"""What a worker logs when it has its partitions."""
PATIENCE_S: Final = 90.0
"""For anything that will happen: a loaded machine starts a worker in half a minute."""


class Worker:
    """A worker process of the trial domain; its log is kept and can be waited for."""

    def __init__(
        self,
        kafka: KafkaSettings,
        registry: RegistrySettings,
        folder: Path,
        slot: int = 0,
        *,
        guard: str = "",
        **settings: str,
    ):
        module = "tests.support.guard_worker" if guard else "tests.support.trial_worker"
        self.log = folder / f"worker-{slot}.log"
        known = {
            "KOUNTER_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "KOUNTER_REGISTRY__URL": registry.url,
            "KOUNTER_DATA_DIR": str(folder),
            "GUARD": guard,
            "KOUNTER_LANE__SESSION_TIMEOUT_S": str(session_s()),
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, str(slot)],
                env={**os.environ, **known, **settings},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def text(self) -> str:
        return self.log.read_text("utf-8", "replace")

    async def until(self, words: str, timeout: float = PATIENCE_S) -> None:
        """Wait for ``words`` in the log; fails with the log's end if the process ends first."""
        await eventually(lambda: words in self.text() or self.process.poll() is not None, timeout)
        assert words in self.text(), self.text()[-3_000:]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


class Cluster:
    """Producer and readers on the stack's Kafka."""

    def __init__(self, stack: Any, domain: Domain) -> None:
        self.kafka = KafkaSettings(bootstrap_servers=stack.bootstrap_servers)
        self.registry = RegistrySettings(url=stack.registry_url)
        self._domain = domain

    async def __aenter__(self) -> Self:
        passing.install(self.kafka)
        await ensure_topics(self.kafka, topics_of([self._domain]))
        self._client = SchemaRegistry(self.registry)
        self.serde = Serde(self._client)
        await self.serde.prepare([*self._domain.sources, *self._domain.writes])
        self.producer = await RecordProducer(self.kafka, self.serde, "test").__aenter__()
        self.raw = AIOKafkaProducer(**self.kafka.client_options())
        await self.raw.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.raw.stop()
        await self.producer.__aexit__(*error)
        await self._client.__aexit__(*error)

    async def bury(self, group: str) -> None:
        """Take all members out of ``group``, who were killed: or those who come next wait for the end of a session."""
        admin = AIOKafkaAdminClient(**self.kafka.client_options())
        await admin.start()
        try:
            try:
                coordinator = await admin.find_coordinator(group)
            except GroupCoordinatorNotAvailableError:  # there never was a group
                return
            for response in await admin.describe_consumer_groups([group], coordinator):
                for _error, _group, _state, _type, _protocol, members, *_ in response.groups:
                    for member in members:
                        await admin._send_request(LeaveGroupRequest(group, member[0]), coordinator)
        finally:
            await admin.close()

    async def send_raw(self, topic: str, key: bytes | None, value: bytes | None, partition: int | None = None) -> None:
        home = 0 if key is None else partition_of(key, self.kafka.partitions)
        await self.raw.send_and_wait(topic, value, key, partition=home if partition is None else partition)

    async def read(self, topic: str, key: str | bytes | None = None) -> list[ConsumerRecord]:
        """All committed records of a topic, of one key if it is named, in order of partition and offset."""
        async with started(committed_consumer(self.kafka)) as consumer:
            tps = [TopicPartition(topic, p) for p in range(self.kafka.partitions)]
            consumer.assign(tps)
            await consumer.seek_to_beginning(*tps)
            ends = await consumer.end_offsets(tps)
            found = [record async for polled in read_to_end(consumer, ends) for record in polled]
        wanted = key.encode() if isinstance(key, str) else key
        found = [r for r in found if wanted is None or r.key == wanted]
        return sorted(found, key=lambda r: (r.partition, r.offset))

    async def rows(self, topic: str, key: str) -> list[Any]:
        """Decoded records of a key."""
        return [await self.serde.decode(topic, record.value) for record in await self.read(topic, key)]


async def eventually(happened: Callable[[], Any], timeout: float = PATIENCE_S) -> None:
    """Wait until ``happened()`` is true; fails after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        result = happened()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.1)
