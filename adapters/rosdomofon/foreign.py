"""One record of the operator's cluster as records of Kounter's, and their event ids."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple, Protocol

from aiokafka.structs import RecordMetadata

from adapters.rosdomofon.kafka.models import Place, SignUp
from adapters.rosdomofon.kafka.topics import read_record
from adapters.rosdomofon.mapping import abonent_row, message_row, sign_up_row
from schemas.cloudevents import cause_id
from schemas.domofon import Abonent
from streams.kafka.producer import RecordProducer


class OperatorRecord(Protocol):
    """A record of the operator's Kafka, fresh or from a dead letter."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int:
        """Time of the record, milliseconds since the epoch."""

    @property
    def value(self) -> bytes | None: ...


class StoredRecord(NamedTuple):
    """A record that a dead letter holds; ``timestamp`` in milliseconds since the epoch."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    value: bytes | None


def rows_of(record: OperatorRecord) -> tuple[Any, Abonent | None]:
    """Return the message or sign-up of a record, and the abonent who sent a message.

    Raises UndecodableRecord; its text shows no values.
    """
    place, sent_at = Place(record.topic, record.partition, record.offset), record.timestamp * 1_000
    read = read_record(record.topic, record.value).at(place)
    if isinstance(read, SignUp):
        return sign_up_row(read), None
    return message_row(read, sent_at), abonent_row(read.from_abonent, company=place.company, seen_at=sent_at)


async def send(producer: RecordProducer, record: OperatorRecord, row: Any) -> asyncio.Future[RecordMetadata]:
    """Send a row to its topic at Kounter's Kafka; a repeat has the same event id.

    Raises InvalidInput or KafkaError, as `RecordProducer.send_nowait`.
    """
    id = cause_id(record.topic, record.partition, record.offset, int(isinstance(row, Abonent)))
    return await producer.send_nowait(row, id=id, time_micros=record.timestamp * 1_000)
