"""A person can have batches that can't be unpacked passed over: each is kept as a dead letter, which all consumers look
for before they stand at a batch (`streams.kafka.batches.unpacking`).

No offset is set: a later reader of the topic, by another group or from its start, passes over the batch too; positions
and the transactions that commit them stay the readers' own.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import ConsumerRecord, TopicPartition
from loguru import logger

from schemas.errors import InvalidInput, shorten
from streams.kafka import dead_letters
from streams.kafka.batches.headers import BatchId, UnreadableBatch
from streams.kafka.batches.unpacking import ask_with, passed
from streams.kafka.consumer import SILENCE_S, KafkaSilent, committed_consumer, read_to_end, started
from streams.kafka.dead_letters import BATCH
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import REQUEST_BYTES, ProducerRecord

POLL_MS: Final = 200
STAGE: Final = "unpack"


def letter_of(batch: UnreadableBatch) -> ProducerRecord:
    """Returns the dead letter: its bytes as they are in the log, unless they are too many."""
    known = {
        "__connect.errors.topic": batch.id.topic,
        "__connect.errors.partition": batch.id.partition,
        "__connect.errors.offset": batch.offset,
        "__connect.errors.stage": STAGE,
        "__connect.errors.exception.class.name": type(batch).__name__,
        "__connect.errors.exception.message": batch.message,
        "kounter.timestamp": batch.timestamp,
        dead_letters.REASON: batch.code,
        "kounter.hint": dead_letters.BATCH_HINT,
        BATCH: f"{batch.id.last}:{batch.id.crc}",
    }
    headers = [(name, str(value).encode()) for name, value in known.items()]
    if len(batch.raw) <= dead_letters.MOST_BYTES:
        return ProducerRecord(None, batch.raw, headers)
    return ProducerRecord(None, None, [*headers, (dead_letters.LEFT_OUT, str(len(batch.raw)).encode())])


async def keep(kafka: KafkaSettings, batch: UnreadableBatch) -> str:
    """Write the dead letter; from then on all consumers pass over the batch. Returns its id. Raises KafkaError."""
    letter = letter_of(batch)
    options = kafka.client_options()
    producer = AIOKafkaProducer(**options, enable_idempotence=True, acks="all", max_request_size=REQUEST_BYTES)
    try:
        await producer.start()
        partition = batch.id.partition % kafka.partitions
        sent = await producer.send_and_wait(
            dead_letters.TOPIC, letter.value, None, partition=partition, headers=letter.headers
        )
    finally:
        await producer.stop()
    return f"{sent.partition}:{sent.offset}"


async def find(kafka: KafkaSettings, topic: str, partition: int, offset: int, *, isolation: str) -> UnreadableBatch:
    """Returns the batch that stands at an offset of a topic of the cluster ``kafka``.

    Raises InvalidInput if there is none that can't be unpacked, KafkaSilent if the brokers do not answer.
    """
    await _check(kafka, topic, partition)
    tp = TopicPartition(topic, partition)
    try:
        async with started(committed_consumer(kafka, isolation_level=isolation)) as consumer:
            at = await _next(consumer, tp, offset)
    except UnreadableBatch as batch:
        if batch.offset <= offset <= batch.last:
            return batch
        at = batch.offset
    except TimeoutError:
        raise KafkaSilent(f"no answer from Kafka for {SILENCE_S:.0f} s") from None
    raise InvalidInput("offset", "where a batch stands that can't be unpacked", offset, hint=_why(tp, offset, at))


async def _next(consumer: Any, tp: TopicPartition, offset: int) -> int:
    """Returns the offset of the first record from ``offset`` on. Raises InvalidInput, TimeoutError, UnreadableBatch."""
    consumer.assign([tp])
    first, end = (await consumer.beginning_offsets([tp]))[tp], (await consumer.end_offsets([tp]))[tp]
    if not first <= offset < end:
        expected = f"one of {tp.topic} {tp.partition}: {first} to {end - 1}"
        raise InvalidInput("offset", expected, offset, hint="Fix the command.")
    consumer.seek(tp, offset)
    async with asyncio.timeout(SILENCE_S):
        while (at := await consumer.position(tp)) <= offset:
            if records := (await consumer.getmany(timeout_ms=POLL_MS, max_records=1)).get(tp):
                return int(records[0].offset)
    return int(at)


async def _check(kafka: KafkaSettings, topic: str, partition: int) -> None:
    """Raise InvalidInput if there is no such topic or partition."""
    admin = AIOKafkaAdminClient(**kafka.client_options())
    try:
        await admin.start()
        if topic not in await admin.list_topics():
            raise InvalidInput("topic", "one that there is", topic, hint="See /api/health or `kounter lag`.")
        (described,) = await admin.describe_topics([topic])
    finally:
        await admin.close()
    if not 0 <= partition < (count := len(described["partitions"])):
        raise InvalidInput("partition", f"one of {topic}: 0 to {count - 1}", partition, hint="Fix the command.")


def _why(tp: TopicPartition, offset: int, at: int) -> str:
    for id, letter in passed.items():
        if id[:2] == tp and offset <= id.last < at:
            return f"The batch there was passed over: `kounter dead-letters show {letter}`."
    if at == offset:
        return "The record there can be read: nothing was passed over. The log names the offset that can't."
    return f"No record stands there; the next place is {at}. Nothing was passed over."


class Marks:
    """Reads from the dead letters which batches were passed over: at first from their start, then only new ones."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._at: dict[TopicPartition, int] = {}

    async def look(self) -> None:
        """Note all of them in `streams.kafka.batches.unpacking.passed`. Raises KafkaError, KafkaSilent."""
        async with started(committed_consumer(self._kafka)) as consumer:
            if dead_letters.TOPIC not in await consumer.topics():
                return
            await self._read(consumer, [TopicPartition(dead_letters.TOPIC, p) for p in range(self._kafka.partitions)])

    async def _read(self, consumer: AIOKafkaConsumer, tps: list[TopicPartition]) -> None:
        ends: dict[TopicPartition, int] = await consumer.end_offsets(tps)
        starts: dict[TopicPartition, int] = await consumer.beginning_offsets(tps)
        consumer.assign(tps)
        for tp in tps:
            at = self._at.get(tp, starts[tp])
            consumer.seek(tp, at if starts[tp] <= at <= ends[tp] else starts[tp])
        while True:
            try:
                async for polled in read_to_end(consumer, ends):
                    for letter in polled:
                        self._note(letter)
                break
            except UnreadableBatch as batch:  # among the dead letters themselves
                consumer.seek(TopicPartition(*batch.id[:2]), batch.last + 1)
        self._at = {tp: await consumer.position(tp) for tp in tps}

    def _note(self, letter: ConsumerRecord) -> None:
        if (id := batch_of(letter)) is not None:
            passed.setdefault(id, f"{letter.partition}:{letter.offset}")


def batch_of(letter: ConsumerRecord) -> BatchId | None:
    """Returns the id of the batch that a dead letter keeps; None if it keeps a record."""
    headers = dict(letter.headers)
    if (mark := headers.get(BATCH)) is None:
        return None
    try:
        last, crc = (int(part) for part in mark.split(b":"))
        topic = headers["__connect.errors.topic"].decode()
        return BatchId(topic, int(headers["__connect.errors.partition"]), last, crc)
    except (KeyError, ValueError, AttributeError):
        logger.warning("a dead letter says {}, which is no batch of ours", shorten(mark))
        return None


def install(kafka: KafkaSettings) -> None:
    """Have all consumers of this process look at the dead letters of this cluster before they stand at a batch."""
    marks = Marks(kafka)
    ask_with(marks.look)
