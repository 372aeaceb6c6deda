"""A process that reads one feed file once, as `kounter source` does, and prints seconds, CPU, memory and numbers."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Final

from adapters.feeds.settings import FeedFile, FeedsSettings
from adapters.feeds.source import FeedFiles
from adapters.feeds.state import TOPICS, FeedStates
from bench.meter import cpu_seconds, peak_mb
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.codec.settings import RegistrySettings
from streams.domains import DOMAINS
from streams.kafka.settings import KafkaSettings
from streams.kafka.topics import ensure_topics
from streams.topology import topics_of

PARENTS: Final = ("estate.city", "estate.project", "estate.building", "estate.section")
PREMISES: Final = "estate.premise"


async def read(bootstrap: str, registry_url: str, name: str, url: str) -> dict[str, object]:
    """Read a feed. Returns the measurement; all records are acknowledged then."""
    kafka = KafkaSettings(bootstrap_servers=bootstrap)
    feed = FeedFile(name=name, url=url)  # type: ignore[arg-type]
    async with SchemaRegistry(RegistrySettings(url=registry_url)) as registry, FeedStates(kafka) as states:
        serde = Serde(registry)
        await ensure_topics(kafka, [*topics_of(DOMAINS.values()), *TOPICS])
        await serde.prepare([*PARENTS, PREMISES])
        began = time.perf_counter()
        state = await FeedFiles(FeedsSettings(sources=(feed,)), kafka, serde).read_once(feed, states)
        took = time.perf_counter() - began
    return {
        "seconds": round(took, 1),
        "cpu_s": round(cpu_seconds(), 1),
        "rss_mb": peak_mb(),
        "error": state.error or state.refused,
        "counts": {name: value for name, value in state.counts.items() if name not in ("examples", "no_root")},
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(read(*sys.argv[1:]))))
