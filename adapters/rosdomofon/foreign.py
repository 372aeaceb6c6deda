"""One record on its way from the operator's cluster to ours: what it says, and under which id it is said here."""

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


class Foreign(Protocol):
    """A record of the operator's, fresh or from a dead letter."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int:
        """Milliseconds since the epoch."""

    @property
    def value(self) -> bytes | None: ...


class Kept(NamedTuple):
    """One that a dead letter has kept."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    value: bytes | None


def rows_of(record: Foreign) -> tuple[Any, Abonent | None]:
    """The message or sign-up that it is, and of a message who says it.

    Raises UndecodableRecord, whose text does not show what came.
    """
    place, said_at = Place(record.topic, record.partition, record.offset), record.timestamp * 1_000
    read = read_record(record.topic, record.value).at(place)
    if isinstance(read, SignUp):
        return sign_up_row(read), None
    return message_row(read, said_at), abonent_row(read.from_abonent, company=place.company, seen_at=said_at)


async def send(producer: RecordProducer, record: Foreign, row: Any) -> asyncio.Future[RecordMetadata]:
    """To its home topic here. Sent again it has the same id. Raises as `RecordProducer.send_nowait`."""
    id = cause_id(record.topic, record.partition, record.offset, int(isinstance(row, Abonent)))
    return await producer.send_nowait(row, id=id, time_micros=record.timestamp * 1_000)
