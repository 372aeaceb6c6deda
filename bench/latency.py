"""Latency from append to visible in the outbox, at a steady rate, for the lane's two guarantees."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import subprocess
import sys
import time
import uuid
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.structs import TopicPartition

from bench.track import Track
from bench.workload import KEYS, OUTBOX, PARTITIONS, SOURCE, Premise, Status
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.codec.settings import RegistrySettings
from streams.kafka.consumer import committed_consumer
from streams.kafka.partitioner import partition_of
from streams.query.lag import LagMeter

RATE: Final = 1_000
WARM_S: Final = 5.0


async def latency(track: Track, guarantee: str, seconds: float) -> dict[str, float]:
    """Returns p50, p99 and max in milliseconds. Every record changes its key's status, so each gives an output."""
    run = f"latency-{uuid.uuid4().hex[:8]}"
    folder = track.folder / run
    folder.mkdir(parents=True)
    worker = subprocess.Popen(
        [sys.executable, "-m", "bench.lane_worker", track.bootstrap, track.registry, run, "0", guarantee, str(folder)],
        stdout=(folder / "log").open("wb"),
        stderr=subprocess.STDOUT,
    )
    try:
        while not (folder / "restored.json").exists():
            await asyncio.sleep(0.2)
        async with SchemaRegistry(RegistrySettings(url=track.registry)) as registry:
            serde = Serde(registry)
            await serde.prepare([SOURCE, OUTBOX])
            await _caught_up(track, run)
            reading = asyncio.create_task(_read(track, serde, run, seconds + WARM_S + 2))
            await asyncio.sleep(0.5)
            await _feed(track, serde, run, seconds + WARM_S)
            found = sorted(await reading)
    finally:
        worker.terminate()  # a kill would leave a transaction open, and the outbox shut for 20 s
        worker.wait()
    cuts = statistics.quantiles(found, n=100)
    return {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1), "max": round(found[-1], 1), "samples": len(found)}


async def _caught_up(track: Track, run: str) -> None:
    """Wait until the group, which begins at the topic's start, has read the records of earlier runs."""
    async with LagMeter(track.kafka) as meter:
        while (await meter.of_group(run, [SOURCE])).records:
            await asyncio.sleep(0.5)


async def _feed(track: Track, serde: Serde, run: str, seconds: float) -> None:
    producer = AIOKafkaProducer(**track.kafka.client_options(), linger_ms=0)
    await producer.start()
    try:
        began, statuses = time.perf_counter(), list(Status)
        base = time.time_ns() // 1_000_000
        for i in range(int(seconds * RATE)):
            key = f"{run}-{i % KEYS}"
            row = Premise(key, base + i, status=statuses[i // KEYS % 4], updated_at=time.time_ns() // 1000)
            raw = key.encode()
            await producer.send(SOURCE, serde.encode(SOURCE, row), raw, partition=partition_of(raw, PARTITIONS))
            if i % 5 == 4 and (ahead := began + (i + 1) / RATE - time.perf_counter()) > 0:
                await asyncio.sleep(ahead)
        await producer.flush()
    finally:
        await producer.stop()


async def _read(track: Track, serde: Serde, run: str, seconds: float) -> list[float]:
    consumer = committed_consumer(track.kafka)
    await consumer.start()
    found: list[float] = []
    try:
        tps = [TopicPartition(OUTBOX, p) for p in range(PARTITIONS)]
        consumer.assign(tps)
        await consumer.seek_to_end(*tps)
        began = time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    polled: dict[Any, Any] = await consumer.getmany(timeout_ms=100)
                    now = time.time_ns() / 1e6
                    for records in polled.values():
                        for record in records:
                            row = await serde.decode(OUTBOX, record.value)
                            if time.monotonic() - began > WARM_S and row.ext_id.startswith(run):
                                found.append(now - row.updated_at / 1000)
    finally:
        await consumer.stop()
    return found
