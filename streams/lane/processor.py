"""The fold of batches of a domain's records: it keeps the domain's topics, and the writer schemas that were read on
them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from loguru import logger

from schemas.codec.serde import Serde
from schemas.errors import RegistryUnavailable, UndecodableRecord
from streams.aggregate import Domain
from streams.kafka.transactions import Destination, ProducerRecord
from streams.lane.batch import Batch, Read, Unlearned
from streams.lane.outgoing import OutgoingEncoder
from streams.lane.source_topic import SourceTopic
from streams.lane.stats import Stats
from streams.lane.unknown_fields import UnknownFieldCounter

REGISTRY_WAITS_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0)

Topical = Sequence[tuple[str, Sequence[Any]]]
"""Raw records by topic."""


class Folded(NamedTuple):
    """The result of a batch."""

    states: dict[bytes, bytes | None]
    """By ``<aggregate>\\0<ext_id>``; None: deleted."""
    writes: dict[Destination, list[ProducerRecord]]
    """By destination, the changelog not included."""


class BatchProcessor:
    """Folds the batches of one domain, for all lanes of a worker."""

    def __init__(self, domain: Domain, serde: Serde, partitions: int, max_state_bytes: int) -> None:
        self._name, self._serde = domain.name, serde
        self._sources = {topic: SourceTopic(aggregate, topic) for topic, aggregate in domain.by_topic.items()}
        self._outgoing = OutgoingEncoder(domain.name, serde, partitions, max_state_bytes, self._sources.keys())
        self.stats = Stats()
        self.unknown_fields = UnknownFieldCounter()

    async def fold(self, partition: int, batches: Topical, read: Read) -> Folded:
        """Fold records, in order, over the states that ``read`` returns. Waits while the registry is down. Raises any
        error of a domain's function.
        """
        while True:
            try:
                return self._fold(partition, batches, read)
            except Unlearned:
                await self._learn(batches)

    def _fold(self, partition: int, batches: Topical, read: Read) -> Folded:
        self._outgoing.read_clock()
        batch = Batch(self._outgoing, partition, read)
        for topic, records in batches:
            batch.fold(self._sources[topic], records)
        for topic, records in batches:
            if self._sources[topic].extra:
                batch.stats.extra_fields += self.unknown_fields.count(self._sources[topic], records)
        self.stats.add(batch.stats)
        return Folded(batch.states, batch.writes)

    async def _learn(self, batches: Topical) -> None:
        """Ask the registry for every new schema id of the batches."""
        new = {
            record.value[:5]
            for topic, records in batches
            for record in records
            if record.value is not None and record.value[:5] not in self._sources[topic].known
        }
        await asyncio.gather(*(self._learn_one(header) for header in new if len(header) == 5 and header[0] == 0))

    async def _learn_one(self, header: bytes) -> None:
        """Learn one schema id. A registry that is down is not a bad record: wait for it."""
        waits = iter(REGISTRY_WAITS_S)
        wait = REGISTRY_WAITS_S[0]
        while True:
            try:
                known = await self._serde.learn(header)
            except RegistryUnavailable as error:
                logger.warning("{}: {} Asking again in {} s.", self._name, error.message, wait)
                await asyncio.sleep(wait)
                wait = next(waits, wait)
            except UndecodableRecord as error:
                for source in self._sources.values():
                    source.known[header] = error
                return
            else:
                for source in self._sources.values():
                    source.learn(header, known)
                return

    def forget_unreadable(self) -> None:
        """Ask again for schema ids that were unknown: a producer may have registered them in the meantime."""
        for source in self._sources.values():
            for header in [h for h, known in source.known.items() if isinstance(known, UndecodableRecord)]:
                del source.known[header]
