"""The connection of reading commands: a serde, and a topic's records with their headers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from kounter.connect import connected_settings
from kounter.history.dead_letters import put_aside
from schemas.cloudevents import read_headers
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.errors import UndecodableRecord
from streams.aggregate import Aggregate, Domain
from streams.kafka.reader import TopicReader
from streams.kafka.settings import KafkaSettings
from tables.layout import State
from tables.timeline import Said


class Reader(NamedTuple):
    """An open connection."""

    kafka: KafkaSettings
    topics: TopicReader
    serde: Serde

    async def said(self, record: Any) -> Said:
        """Returns a raw record, decoded; its row is the error if that fails."""
        meta = read_headers(
            record.headers,
            timestamp_ms=record.timestamp,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
        )
        row: Any = None
        if record.value is not None:
            try:
                row = await self.serde.decode(record.topic, record.value)
            except UndecodableRecord as error:
                row = error
        return Said(row, meta, record.timestamp * 1000, record.partition, record.offset)

    async def history(self, aggregate: Aggregate, key: str) -> list[Said]:
        """Returns all records of a key, with dead letters marked, wherever they are."""
        records = await self.topics.of_key(aggregate.topic, key)
        letters = await put_aside(self.topics, (aggregate.topic, aggregate.commands), key)
        aside = {(said.partition, said.offset): said for topic, said in letters if topic == aggregate.topic}
        history = []
        for record in records:
            said = await self.said(record)
            letter = aside.pop((record.partition, record.offset), None)
            if letter is not None:
                letter.row.unreadable = isinstance(said.row, Exception)
            history.append(letter or said)
        elsewhere = [*aside.values(), *(said for topic, said in letters if topic != aggregate.topic)]
        for said in sorted(elsewhere, key=lambda said: said.at):  # of another partition or topic: by its time
            behind = next((i for i, other in enumerate(history) if other.at >= said.at), len(history))
            history.insert(behind, said)
        return history

    async def state(self, domain: Domain, aggregate: Aggregate, key: str) -> State | None:
        """Returns the state in the table: the key's last record on the changelog, in the key's own partition."""
        wanted = f"{aggregate.topic}\0{key}".encode()
        home = self.topics.partition(aggregate.topic, key)
        value = None
        async for record in self.topics.read(domain.changelog, partitions=[home]):
            if record.key == wanted:
                value = record.value
        return None if value is None else aggregate.layout.load(value)


@asynccontextmanager
async def open_reader() -> AsyncIterator[Reader]:
    """Connect to the Kafka and the registry that are set, or that run in the data folder."""
    settings = connected_settings()
    async with SchemaRegistry(settings.registry) as registry, TopicReader(settings.kafka) as topics:
        yield Reader(settings.kafka, topics, Serde(registry))
