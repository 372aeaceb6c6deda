"""Data for the fold of one source topic, looked up once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from schemas.codec.serde import Known
from schemas.errors import UndecodableRecord
from streams.aggregate import Aggregate


class SourceTopic:
    """A topic that a domain reads: its aggregate, and the writer schemas that were read on it."""

    def __init__(self, aggregate: Aggregate, topic: str) -> None:
        self.aggregate, self.topic = aggregate, topic
        self.is_commands = topic != aggregate.topic
        self.prefix = aggregate.topic.encode() + b"\0"
        self.known: dict[bytes, tuple[Callable[[bytes], Any], int] | UndecodableRecord] = {}
        """By wire header: the decoder and the index of the key field; or the error why its records can't be read."""
        self.extra: dict[bytes, tuple[str, ...]] = {}
        """By wire header of writers with fields that Kounter lacks: those fields."""

    def learn(self, header: bytes, known: Known) -> None:
        """Remember a writer schema, or that its records do not belong here."""
        contract = known.contract
        if self.topic in contract.topics:
            self.known[header] = (known.decode, contract.fields.index(contract.key))
            if known.extra:
                self.extra[header] = known.extra
        else:
            reason = f"{contract.full_name} is no record of {self.topic}"
            self.known[header] = UndecodableRecord("foreign_record", reason)
