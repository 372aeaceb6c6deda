"""All lanes of a domain over topics in memory: for histories of several aggregates that tell each other."""

from __future__ import annotations

from collections import Counter
from typing import Any

from schemas.codec.serde import Serde
from schemas.record import contract, partition_key
from streams.aggregate import Domain
from streams.kafka.partitioner import partition_of
from streams.kafka.transactions import OtherPartition
from streams.lane.processor import BatchProcessor
from tables.layout import State
from tests.support.local import PARTITIONS, Raw, local_serde


class Lanes:
    """Each lane takes what it is told to, and what it writes is read again."""

    def __init__(self, domain: Domain, serde: Serde) -> None:
        self.domain, self.serde = domain, serde
        self.processor = BatchProcessor(domain, serde, PARTITIONS, 100_000)
        self.topics: dict[str, list[list[Raw]]] = {}
        self.read: Counter[tuple[str, int]] = Counter()
        self.states: dict[bytes, bytes] = {}

    def partitions(self, topic: str) -> list[list[Raw]]:
        return self.topics.setdefault(topic, [[] for _ in range(PARTITIONS)])

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Any = ()) -> None:
        log = self.partitions(topic)[partition]
        log.append(Raw(key, value, len(log), partition, 1_000 + len(log), headers))

    def produce(self, topic: str, row: Any) -> None:
        key = row[contract(type(row)).fields.index(contract(type(row)).key)].encode()
        self.append(topic, partition_of(partition_key(topic, key), PARTITIONS), key, self.serde.encode(topic, row))

    async def step(self, partition: int, most: int) -> bool:
        """One batch of one lane, of at most so many records a topic. False if there was nothing to do."""
        batches = []
        for topic in self.domain.sources:
            at = self.read[topic, partition]
            if records := self.partitions(topic)[partition][at : at + most]:
                batches.append((topic, records))
                self.read[topic, partition] += len(records)
        folded = await self.processor.fold(partition, batches, self.states.get)
        for key, state in folded.states.items():
            if state is None:
                self.states.pop(key, None)
            else:
                self.states[key] = state
        for target, entries in folded.writes.items():
            topic, place = (
                (target.topic, target.partition) if isinstance(target, OtherPartition) else (target, partition)
            )
            for entry in entries:
                self.append(topic, place, entry.key, entry.value, entry.headers)
        return bool(batches)

    async def finish(self) -> None:
        while any([await self.step(partition, 3) for partition in range(PARTITIONS)]):
            pass

    def records(self, topic: str) -> list[Any]:
        return [record for log in self.partitions(topic) for record in log]

    def tables(self) -> dict[bytes, State]:
        layouts = {a.topic.encode(): a.layout for a in self.domain.aggregates}
        return {key: layouts[key.split(b"\0")[0]].load(data) for key, data in self.states.items()}

    async def rows(self, topic: str) -> list[Any]:
        """All that stands on a topic, decoded."""
        return [await self.serde.decode(topic, record.value) for record in self.records(topic)]


async def new_lanes(domain: Domain) -> Lanes:
    """Lanes over empty topics."""
    serde, _ = await local_serde(*domain.sources, *domain.writes)
    return Lanes(domain, serde)
