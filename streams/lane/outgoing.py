"""Encoding of a batch's writes: states for the changelog, and records for other topics, each within its limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Set
from typing import Any, Final, NamedTuple

from schemas.cloudevents import add_headers, common_headers
from schemas.codec.serde import Serde
from schemas.errors import KounterError
from schemas.record import contract
from streams.aggregate import Aggregate, Outgoing
from streams.kafka.transactions import ProducerRecord, new_record
from tables.layout import State

AHEAD_MS: Final = 30 * 60_000
"""Milliseconds that a record's time may be ahead. Brokers refuse a record whose time is an hour ahead of theirs, and
with it the whole transaction. A source topic may hold such times: from brokers before 3.6, or if its owner allows them.
"""
MAX_OUTGOING_BYTES: Final = 900_000
"""Bytes of key and value; the rest of the brokers' 1 MiB is for headers."""


class TooLarge(KounterError):
    """A state or an outgoing record over the size that Kafka takes."""

    code = "too_large"
    hint = "Look for a list or text that grows without end. KOUNTER_LANE__MAX_STATE_BYTES is the limit of a state."


class OutgoingFormat(NamedTuple):
    """Data for writing records of a type to a topic, looked up once."""

    type: str
    key: int
    """Index of the field that is the record's key."""
    headers: tuple[tuple[str, bytes], ...]
    """The headers that all these records share."""
    encode: Callable[[Any], bytes]


class OutgoingEncoder:
    """Encodes the states and outgoing records of one domain."""

    def __init__(
        self, domain: str, serde: Serde, partitions: int, max_state_bytes: int, folded_topics: Set[str]
    ) -> None:
        self._name, self._serde = f"kounter/{domain}", serde
        self.partitions, self.max_state_bytes = partitions, max_state_bytes
        self.folded_topics = folded_topics
        """Topics that the domain reads itself: their records must stand in the partition of their key."""
        self._formats: dict[tuple[str, type], OutgoingFormat] = {}
        self._latest_ms = 0

    def read_clock(self) -> None:
        """Set the latest time that a record may have; once per batch."""
        self._latest_ms = int(time.time() * 1_000) + AHEAD_MS

    def dump(self, aggregate: Aggregate, state: State) -> bytes:
        """Returns the encoded state. Raises `TooLarge`."""
        data = aggregate.layout.dump(state)
        if (size := len(data) + len(state.ext_id.encode())) > self.max_state_bytes:
            raise TooLarge(f"{aggregate.topic} {state.ext_id[:80]}: a state of {size} bytes")
        return data

    def record(self, out: Outgoing, event_id: str, at: int, traceparent: str | None) -> ProducerRecord:
        """Returns an outgoing record as it is written; ``at`` is its time in microseconds. Raises TooLarge,
        InvalidInput.
        """
        topic, row = out
        form = self._formats.get((topic, type(row)))
        if form is None:
            form = self._formats[topic, type(row)] = self._format(topic, type(row))
        subject = row[form.key]
        key, value = subject.encode(), form.encode(row)
        if (size := len(value) + len(key)) > MAX_OUTGOING_BYTES:
            raise TooLarge(f"{form.type} {subject[:80]}: a record of {size} bytes")
        headers = add_headers(form.headers, event_id, at, subject, traceparent)
        return new_record(ProducerRecord, (key, value, headers, min(at // 1000, self._latest_ms)))

    def _format(self, topic: str, record: type) -> OutgoingFormat:
        of = contract(record)
        headers = common_headers(self._name, of.full_name)
        return OutgoingFormat(of.full_name, of.fields.index(of.key), headers, self._serde.encoder(topic, record))
