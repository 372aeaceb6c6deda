"""A probe of a running Kounter: the progress of each part, and at the end all records of the topics."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import httpx
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition

from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.codec.settings import RegistrySettings
from streams.aggregate import Domain
from streams.kafka import dead_letters
from streams.kafka.consumer import committed_consumer, read_to_end
from streams.kafka.settings import KafkaSettings
from tables.layout import State, layout


class Progress(NamedTuple):
    """Progress of the parts in records, counted by Kafka's offsets."""

    records_in: int
    folded: int
    commands: int
    delivered: int
    dead_letters: int

    @property
    def lag(self) -> int:
        """Returns the records that wait for a worker."""
        return max(0, self.records_in - self.folded)

    @property
    def waiting(self) -> int:
        """Returns the commands that wait for the delivery."""
        return max(0, self.commands - self.delivered)


class Probe:
    """The readers of one Kafka."""

    def __init__(self, kafka: KafkaSettings, registry: RegistrySettings, domain: Domain, delivery: str) -> None:
        self._kafka, self._domain, self._delivery = kafka, domain, delivery
        self._partitions = range(kafka.partitions)
        self._schemas = SchemaRegistry(registry)
        self.serde = Serde(self._schemas)

    async def __aenter__(self) -> Self:
        self._admin = AIOKafkaAdminClient(**self._kafka.client_options())
        await self._admin.start()
        self._consumer = committed_consumer(self._kafka)
        await self._consumer.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._consumer.stop()
        await self._admin.close()
        await self._schemas.__aexit__(*error)

    async def progress(self) -> Progress:
        """Returns the progress now."""
        sources = self._tps(*self._domain.sources)
        outbox = self._tps(*self._domain.outboxes)
        letters = self._tps(dead_letters.TOPIC)
        ends = await self._consumer.end_offsets([*sources, *outbox, *letters])
        starts = await self._consumer.beginning_offsets([*sources, *outbox, *letters])
        size = {tp: ends[tp] - starts[tp] for tp in ends}
        folded = await self._admin.list_consumer_group_offsets(self._domain.name)
        delivered = await self._admin.list_consumer_group_offsets(self._delivery)
        return Progress(
            sum(size[tp] for tp in sources),
            sum(meta.offset for tp, meta in folded.items() if tp in size),
            sum(size[tp] for tp in outbox),
            sum(meta.offset for tp, meta in delivered.items() if tp in size),
            sum(size[tp] for tp in letters),
        )

    async def states(self) -> dict[tuple[str, str], State]:
        """Returns all states of the changelog, by topic and ext_id."""
        latest: dict[bytes, bytes | None] = {}
        for record in await self.read(self._domain.changelog):
            latest[record.key] = record.value
        found = {}
        for raw_key, value in latest.items():
            topic, _, key = raw_key.decode().partition("\0")
            if value is not None:
                found[topic, key] = layout(topic).load(value)
        return found

    async def rows(self, topic: str) -> list[Any]:
        """Returns all records of a topic, decoded."""
        return [await self.serde.decode(topic, record.value) for record in await self.read(topic)]

    async def read(self, topic: str) -> list[Any]:
        """Returns all committed raw records of a topic, in order within a partition. Raises KafkaSilent, KafkaError."""
        tps = self._tps(topic)
        self._consumer.assign(tps)
        await self._consumer.seek_to_beginning(*tps)
        ends = await self._consumer.end_offsets(tps)
        return [record async for polled in read_to_end(self._consumer, ends) for record in polled]

    def _tps(self, *topics: str) -> list[TopicPartition]:
        return [TopicPartition(topic, partition) for topic in topics for partition in self._partitions]


async def twin_leads(webhook_url: str) -> list[dict[str, Any]]:
    """Returns all leads of a Bitrix24 portal, by `crm.lead.list`."""
    found: list[dict[str, Any]] = []
    query = {"select": ["ID", "TITLE", "STATUS_ID", "ORIGIN_ID", "COMMENTS", "OPPORTUNITY"], "order": {"ID": "ASC"}}
    async with httpx.AsyncClient(base_url=webhook_url.rstrip("/") + "/", timeout=30) as http:
        while True:
            last = int(found[-1]["ID"]) if found else 0
            body = {**query, "filter": {">ID": last}, "start": -1}
            page = (await http.post("crm.lead.list", json=body)).json()["result"]
            found += page
            if len(page) < 50:
                return found
