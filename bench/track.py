"""One broker, its input, and one run of a worker at a time, each with a group, a changelog and a folder of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import ConsumerRecord, TopicPartition

from bench.workload import OUTBOX, PARTITIONS, SOURCE, Digest, digest, domain, premises
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.codec.settings import RegistrySettings
from streams.kafka.consumer import committed_consumer, read_to_end, started
from streams.kafka.partitioner import partition_of
from streams.kafka.settings import KafkaSettings
from streams.kafka.topics import KEPT, Topic, ensure_topics

RUN_S: Final = 240.0
OURS: Final = ("lane", "plain")


class Track:
    """The track of all runs. The caller empties ``folder``."""

    def __init__(self, bootstrap: str, registry: str, folder: Path) -> None:
        self.bootstrap, self.registry, self.folder = bootstrap, registry, folder
        self.kafka = KafkaSettings(bootstrap_servers=bootstrap, partitions=PARTITIONS)

    async def fill(self, topic: str, n: int) -> None:
        """Produce the input, each record on its key's partition."""
        await ensure_topics(self.kafka, [Topic(topic, KEPT)])
        async with SchemaRegistry(RegistrySettings(url=self.registry)) as registry:
            serde = Serde(registry)
            await serde.prepare([SOURCE])
            encoded = [(row.ext_id.encode(), serde.encode(SOURCE, row)) for row in premises(n)]
        by_partition: dict[int, list[tuple[bytes, bytes]]] = {p: [] for p in range(PARTITIONS)}
        homes: dict[bytes, int] = {}
        for key, value in encoded:
            if key not in homes:
                homes[key] = partition_of(key, PARTITIONS)
            by_partition[homes[key]].append((key, value))
        for partition, pairs in by_partition.items():
            await self.produce(topic, partition, pairs)

    async def produce(self, topic: str, partition: int, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Produce records in whole batches."""
        producer = AIOKafkaProducer(**self.kafka.client_options(), max_batch_size=900_000, max_request_size=2 << 20)
        await producer.start()
        try:
            sent = []
            batch = producer.create_batch()
            for key, value in pairs:
                if batch.append(key=key, value=value, timestamp=None) is None:
                    sent.append(await producer.send_batch(batch, topic, partition=partition))
                    batch = producer.create_batch()
                    batch.append(key=key, value=value, timestamp=None)
            sent.append(await producer.send_batch(batch, topic, partition=partition))
            await asyncio.gather(*sent)
        finally:
            await producer.stop()

    def race(self, engine: str, records: int, source: str) -> tuple[dict[str, Any], str]:
        """Run an engine over the whole input. Returns its measurement and its run's name."""
        run = f"{engine.replace('_', '-')}-{uuid.uuid4().hex[:8]}"
        folder = self.folder / run
        folder.mkdir(parents=True)
        if engine not in OURS:
            asyncio.run(ensure_topics(self.kafka, [Topic(f"{OUTBOX}-{run}", KEPT)]))
        last = "exactly_once" if engine in OURS else str(folder)
        rest = [str(folder)] if engine in OURS else [source]
        command = [sys.executable, "-m", f"bench.{engine}_worker", self.bootstrap, self.registry, run, str(records)]
        with (folder / "log").open("wb") as log:
            done = subprocess.run([*command, last, *rest], stdout=log, stderr=log, timeout=RUN_S, check=False)
        result = folder / "result.json"
        if not result.exists():
            raise SystemExit(f"{engine} exited with {done.returncode}:\n{(folder / 'log').read_text()[-2000:]}")
        return json.loads(result.read_text()), run

    async def check(self, engine: str, run: str) -> Digest:
        """Returns the digest of an engine's changelog and outputs."""
        if engine in OURS:
            changelog, outbox = domain(run).changelog, OUTBOX
        else:
            changelog, outbox = await self._changelog(run), f"{OUTBOX}-{run}"
        latest = {record.key: record.value for record in await self.read(changelog)}
        states = [self._state(engine, value) for key, value in latest.items() if not key.startswith(b"__")]
        source = f"kounter/{run}".encode()
        outputs = await self.read(outbox)
        count = sum(engine not in OURS or dict(record.headers)["ce_source"] == source for record in outputs)
        return digest([state for state in states if state is not None and "price" in state], count)

    async def _changelog(self, run: str) -> str:
        """Returns the one topic that a peer has created for its state."""
        admin = AIOKafkaAdminClient(**self.kafka.client_options())
        await admin.start()
        try:
            names: list[str] = await admin.list_topics()
        finally:
            await admin.close()
        return next(name for name in names if run in name and "changelog" in name)

    def _state(self, engine: str, value: bytes | None) -> Any:
        if value is None:
            return None
        return domain("x").aggregates[0].layout.load(value)._asdict() if engine in OURS else orjson.loads(value)

    async def read(self, topic: str) -> list[ConsumerRecord]:
        """Returns all committed records of a topic."""
        async with started(committed_consumer(self.kafka)) as consumer:
            tps = [TopicPartition(topic, p) for p in range(PARTITIONS)]
            consumer.assign(tps)
            await consumer.seek_to_beginning(*tps)
            ends = await consumer.end_offsets(tps)
            return [record async for polled in read_to_end(consumer, ends) for record in polled]
