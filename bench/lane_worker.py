"""Kounter's lane on the job: ``python -m bench.lane_worker BOOTSTRAP REGISTRY RUN RECORDS GUARANTEE FOLDER``.

RECORDS 0: run until stopped (latency). An existing changelog is restored first, and timed.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any, cast

import faust

from bench.meter import Meter
from bench.workload import PARTITIONS, SOURCE, domain, save
from kounter import logs
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.codec.settings import RegistrySettings
from streams.app import create_app
from streams.collector import settle_collector
from streams.kafka.settings import KafkaSettings
from streams.kafka.topics import ensure_topics
from streams.lane.settings import Guarantee, LaneSettings
from streams.topology import topics_of


def main(bootstrap: str, registry: str, run: str, records: int, guarantee: str, folder: Path) -> None:
    """Measure, write ``result.json`` and exit."""
    logs.set_up("WARNING")
    kafka = KafkaSettings(bootstrap_servers=bootstrap, partitions=PARTITIONS)
    job = domain(run)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    serde = Serde(SchemaRegistry(RegistrySettings(url=registry)))
    loop.run_until_complete(ensure_topics(kafka, topics_of([job])))
    loop.run_until_complete(serde.prepare([*job.writes, SOURCE]))
    app = create_app(job, serde, kafka, LaneSettings(guarantee=cast(Guarantee, guarantee)), folder)
    meter, lanes = Meter(records), app.lanes
    fenced: list[float] = []

    def progress(done: int) -> None:
        if records and meter.add(done):
            save(meter.result() | {"stats": lanes.processor.stats.as_dict()}, folder / "result.json")
            os._exit(0)

    @app.on_partitions_assigned.connect  # type: ignore[untyped-decorator]
    async def assigned(*args: Any, **options: Any) -> None:
        fenced.append(time.perf_counter())

    @app.on_rebalance_complete.connect  # type: ignore[untyped-decorator]
    async def recovered(*args: Any, **options: Any) -> None:
        save({"restore_s": time.perf_counter() - fenced[-1]}, folder / "restored.json")

    lanes.on_progress = progress
    settle_collector()
    worker = faust.Worker(app, loop=loop, loglevel="WARNING", override_logging=False, redirect_stdouts=False)
    worker.spinner = None
    worker.execute_from_commandline()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5], Path(sys.argv[6]))
