"""Rate at which a worker without local state reads its changelog."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import uuid
from typing import Any, Final

from bench.track import Track
from bench.workload import PARTITIONS, domain, premises
from streams.kafka.partitioner import partition_of
from streams.kafka.topics import ensure_topics
from streams.topology import topics_of

LIMIT_S: Final = 120.0


async def restore(track: Track, records: int) -> dict[str, Any]:
    """Returns the time to restore ``records`` changelog records, the workload's states repeated, into an empty
    folder."""
    run = f"restore-{uuid.uuid4().hex[:8]}"
    job = domain(run)
    aggregate = job.aggregates[0]
    await ensure_topics(track.kafka, topics_of([job]))
    states: dict[int, list[tuple[bytes, bytes]]] = {p: [] for p in range(PARTITIONS)}
    for row in premises(20_000):
        key = f"{aggregate.topic}\0{row.ext_id}".encode()
        state = aggregate.layout.dump(aggregate.evolve(None, row, 0))
        states[partition_of(row.ext_id.encode(), PARTITIONS)].append((key, state))
    total = 0
    for partition, pairs in states.items():
        times = max(1, records // 20_000)
        await track.produce(job.changelog, partition, pairs * times)
        total += len(pairs) * times
    folder = track.folder / run
    folder.mkdir(parents=True)
    with (folder / "log").open("wb") as log:
        command = [track.bootstrap, track.registry, run, "0", "exactly_once", str(folder)]
        worker = subprocess.Popen([sys.executable, "-m", "bench.lane_worker", *command], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + LIMIT_S
        while not (done := folder / "restored.json").exists():
            if time.monotonic() > deadline:
                raise SystemExit(f"nothing was restored:\n{(folder / 'log').read_text()[-2000:]}")
            await asyncio.sleep(0.2)
        await asyncio.sleep(0.2)
        seconds = json.loads(done.read_text())["restore_s"]
    finally:
        worker.terminate()  # a kill would leave a transaction open, and the outbox shut for 20 s
        worker.wait()
    return {"records": total, "seconds": round(seconds, 2), "records_per_s": round(total / seconds)}
