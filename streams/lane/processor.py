"""Folds batches of a domain's records: knows its topics, and the writer schemas that were met on them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from loguru import logger

from schemas.cloudevents import add_headers, common_headers
from schemas.codec.serde import Known, Serde
from schemas.errors import RegistryUnavailable, UndecodableRecord
from schemas.record import contract
from streams.aggregate import Aggregate, Domain, Outgoing
from streams.kafka.transactions import Entry, Target, new_entry
from streams.lane.batch import Batch, Read, TooLarge, Unlearned
from streams.lane.stats import Stats
from streams.lane.unknown_fields import PassedOver
from tables.layout import State

AHEAD_MS: Final = 30 * 60_000
"""Brokers refuse a record whose time is an hour ahead of theirs, and with it the whole transaction. A source topic may
hold such times: of brokers before 3.6, or where its owner allows them."""
MAX_OUTGOING_BYTES: Final = 900_000
"""Key and value; the rest of the brokers' 1 MiB is for headers."""
REGISTRY_WAITS_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0)

Topical = Sequence[tuple[str, Sequence[Any]]]
"""Raw records by topic."""


class Folded(NamedTuple):
    """What a batch comes to."""

    states: dict[bytes, bytes | None]
    """By ``<aggregate>\\0<ext_id>``; None: deleted."""
    writes: dict[Target, list[Entry]]
    """By where they go, the changelog not included."""


class Form(NamedTuple):
    """What writing records of a type to a topic needs, looked up once."""

    type: str
    key: int
    """Index of the field that is the record's key."""
    headers: tuple[tuple[str, bytes], ...]
    """Common to all of them."""
    encode: Callable[[Any], bytes]


class Source:
    """What folding the records of one topic needs, looked up once."""

    def __init__(self, aggregate: Aggregate, topic: str) -> None:
        self.aggregate, self.topic = aggregate, topic
        self.is_commands = topic != aggregate.topic
        self.prefix = aggregate.topic.encode() + b"\0"
        self.known: dict[bytes, tuple[Callable[[bytes], Any], int] | UndecodableRecord] = {}
        """By wire header: how to decode and which field is the key; or why not."""
        self.extra: dict[bytes, tuple[str, ...]] = {}
        """By wire header of writers that have fields which are not ours: those fields."""

    def learn(self, header: bytes, known: Known) -> None:
        """Remember a writer schema, or that its records do not belong here."""
        of = known.contract
        if self.topic in of.topics:
            self.known[header] = (known.decode, of.fields.index(of.key))
            if known.extra:
                self.extra[header] = known.extra
        else:
            self.known[header] = UndecodableRecord("foreign_record", f"{of.full_name} is no record of {self.topic}")


class Folder:
    """Of one domain and worker."""

    def __init__(self, domain: Domain, serde: Serde, partitions: int, max_state_bytes: int) -> None:
        self._serde, self.partitions = serde, partitions
        self.max_state_bytes = max_state_bytes
        self._sources = {topic: Source(aggregate, topic) for topic, aggregate in domain.by_topic.items()}
        self.folded_topics = frozenset(self._sources)
        self._forms: dict[tuple[str, type], Form] = {}
        self._name = f"kounter/{domain.name}"
        self._latest_ms = 0
        self.stats = Stats()
        self.passed_over = PassedOver()

    async def fold(self, partition: int, batches: Topical, read: Read) -> Folded:
        """Fold records, in order, over the states that ``read`` gives. Waits while the registry is down."""
        while True:
            try:
                return self._fold(partition, batches, read)
            except Unlearned:
                await self._learn(batches)

    def _fold(self, partition: int, batches: Topical, read: Read) -> Folded:
        self._latest_ms = int(time.time() * 1_000) + AHEAD_MS
        batch = Batch(self, partition, read)
        for topic, records in batches:
            batch.take(self._sources[topic], records)
        for topic, records in batches:
            if self._sources[topic].extra:
                batch.stats.extra_fields += self.passed_over.count(self._sources[topic], records)
        self.stats.add(batch.stats)
        return Folded(batch.states, batch.writes)

    async def _learn(self, batches: Topical) -> None:
        """Ask the registry for every schema id of the batches that was not met before."""
        new = {
            record.value[:5]
            for topic, records in batches
            for record in records
            if record.value is not None and record.value[:5] not in self._sources[topic].known
        }
        await asyncio.gather(*(self._learn_one(header) for header in new if len(header) == 5 and header[0] == 0))

    async def _learn_one(self, header: bytes) -> None:
        """A registry that is down is not a bad record: wait for it."""
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

    def dump(self, aggregate: Aggregate, state: State) -> bytes:
        """A state, encoded. Raises `TooLarge`."""
        data = aggregate.layout.dump(state)
        if (size := len(data) + len(state.ext_id.encode())) > self.max_state_bytes:
            raise TooLarge(f"{aggregate.topic} {state.ext_id[:80]}: a state of {size} bytes")
        return data

    def entry(self, out: Outgoing, event_id: str, at: int, traceparent: str | None) -> Entry:
        """An outgoing record as it is written. Raises `TooLarge`."""
        topic, row = out
        form = self._forms.get((topic, type(row)))
        if form is None:
            form = self._forms[topic, type(row)] = self._form(topic, type(row))
        subject = row[form.key]
        key, value = subject.encode(), form.encode(row)
        if (size := len(value) + len(key)) > MAX_OUTGOING_BYTES:
            raise TooLarge(f"{form.type} {subject[:80]}: a record of {size} bytes")
        headers = add_headers(form.headers, event_id, at, subject, traceparent)
        return new_entry(Entry, (key, value, headers, min(at // 1000, self._latest_ms)))

    def _form(self, topic: str, record: type) -> Form:
        of = contract(record)
        headers = common_headers(self._name, of.full_name)
        return Form(of.full_name, of.fields.index(of.key), headers, self._serde.encoder(topic, record))
