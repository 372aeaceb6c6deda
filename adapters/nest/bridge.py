"""The bridge to services written with Nest: their JSON becomes our records, our answers become their JSON.

Input offsets and records made of it go in ONE Kafka transaction: no message is lost or carried out twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import ConsumerRecord, TopicPartition
from loguru import logger

from adapters.nest.envelope import complain, read_message, write_reply
from adapters.nest.settings import NestSettings
from schemas.cloudevents import cause_id, make_headers
from schemas.codec.serde import Serde
from schemas.core_users import CardAsked, CoreReply
from schemas.errors import InvalidInput, KounterError, UndecodableRecord
from schemas.record import contract
from streams.domains import core_users
from streams.kafka import dead_letters
from streams.kafka.batches.unpacking import stand
from streams.kafka.consumer import committed_consumer
from streams.kafka.partitioner import partition_of
from streams.kafka.retention import check_kept, configs
from streams.kafka.settings import KafkaSettings
from streams.kafka.topics import KEPT, Topic, ensure_topics
from streams.kafka.transactions import Destination, OtherPartition, ProducerRecord, TransactionalWriter

GROUP: Final = "nest"
SOURCE: Final = "nest"
STAGE: Final = "nest"
POLL_MS: Final = 500
MOST_MESSAGES: Final = 500
"""Messages of one transaction at most."""
JSON: Final = [("content-type", b"application/json")]


class NestBridge:
    """The bridge, of which one runs at a time: a later one fences the one before, whose `run` then raises
    ProducerFenced."""

    def __init__(self, kafka: KafkaSettings, serde: Serde, settings: NestSettings) -> None:
        self._kafka, self._serde, self._settings = kafka, serde, settings
        self._partitions: dict[str, int] = {}
        """Partitions of each topic that is read or answered on; topics of JSON may belong to other services."""
        self._carried: dict[TopicPartition, int] = {}
        """Next offset of each partition that this run has read from."""
        self._stopping = asyncio.Event()
        self.ready = asyncio.Event()

    def stop(self) -> None:
        """Let `run` return after the transaction in flight."""
        self._stopping.set()

    async def run(self) -> None:
        """Run until `stop`. Raises KafkaError and RegistryUnavailable; a new run resumes at the committed offsets."""
        consumer = committed_consumer(self._kafka, group_id=GROUP, fetch_max_wait_ms=100)
        stand(consumer)
        writer = TransactionalWriter(self._kafka, GROUP, 0)
        try:
            await consumer.start()
            await self._find_topics(await consumer.topics())
            self._carried = {}
            await writer.start()  # fences the bridge before us, BEFORE its committed offsets are read
            while not self._stopping.is_set():
                self._assign(consumer)
                self.ready.set()
                polled = await consumer.getmany(timeout_ms=POLL_MS, max_records=MOST_MESSAGES)
                if polled:
                    await self._carry(polled, writer)
        finally:
            await writer.stop()
            await consumer.stop()

    async def _find_topics(self, existing: Iterable[str]) -> None:
        """Create missing topics of JSON; existing ones are used as they are."""
        theirs = {self._settings.queue, *self._settings.replies.values()}
        await ensure_topics(self._kafka, [Topic(name, KEPT) for name in sorted(theirs - set(existing))])
        admin = AIOKafkaAdminClient(**self._kafka.client_options())
        try:
            await admin.start()
            described = await admin.describe_topics([*theirs, core_users.REPLIES])
            if self._settings.queue in existing:  # theirs, so its retention is theirs too
                check_kept(await configs(admin, [self._settings.queue]), "warn")
        finally:
            await admin.close()
        self._partitions = {topic["topic"]: len(topic["partitions"]) for topic in described}

    def _assign(self, consumer: AIOKafkaConsumer) -> None:
        """Assign all partitions of the topics that are read, including new ones: the consumer refreshes its topics
        every few seconds, but reads only assigned partitions."""
        sources = (self._settings.queue, core_users.REPLIES)
        for topic in sources:
            seen = consumer.partitions_for_topic(topic) or ()  # none while no broker answers
            self._partitions[topic] = max(self._partitions[topic], len(seen))
        tps = {TopicPartition(topic, p) for topic in sources for p in range(self._partitions[topic])}
        if tps == consumer.assignment():
            return
        consumer.assign(tps)
        for tp, offset in self._carried.items():  # the group's offsets may not yet include the last transaction
            consumer.seek(tp, offset)
        queue = self._settings.queue
        logger.info("messages are taken from {}, {} partitions", queue, self._partitions[queue])

    async def _carry(self, polled: dict[TopicPartition, list[ConsumerRecord]], writer: TransactionalWriter) -> None:
        writes: dict[Destination, list[ProducerRecord]] = {}
        for tp, records in polled.items():
            for record in records:
                try:
                    target, entry = await self._of(record)
                except (UndecodableRecord, InvalidInput) as error:
                    logger.warning("{} {}:{}: {}", tp.topic, tp.partition, record.offset, error)
                    target = OtherPartition(dead_letters.TOPIC, tp.partition % self._kafka.partitions)
                    entry = dead_letters.dead_letter(tp.topic, record, error, STAGE)
                    if tp.topic != core_users.REPLIES and (told := self._complaint(record, error)) is not None:
                        writes.setdefault(told[0], []).append(told[1])
                writes.setdefault(target, []).append(entry)
        ends = {tp: records[-1].offset + 1 for tp, records in polled.items()}
        await writer.commit("", writes, ends)
        self._carried |= ends

    def _complaint(self, record: ConsumerRecord, error: KounterError) -> tuple[Destination, ProducerRecord] | None:
        """Returns the answer to an unreadable message, if it names a known queue."""
        told = complain(record.value, error, self._settings)
        if told is None:
            return None
        topic = self._settings.replies[told.queue]
        count = self._partitions[topic]
        partition = record.partition % count if told.key is None else partition_of(told.key, count)
        return OtherPartition(topic, partition), ProducerRecord(told.key, told.value, JSON)

    async def _of(self, record: ConsumerRecord) -> tuple[Destination, ProducerRecord]:
        """Returns the record to write for a message or answer, and its destination. Raises UndecodableRecord."""
        if record.value is None:
            raise UndecodableRecord("null_value", "a message without a value asks for nothing")
        id = cause_id(record.topic, record.partition, record.offset, 0)
        if record.topic == core_users.REPLIES:
            reply = await self._serde.decode(core_users.REPLIES, record.value)
            if not isinstance(reply, CoreReply):
                raise UndecodableRecord("foreign_record", f"no {CoreReply.__name__}, but {type(reply).__name__}")
            topic = self._settings.replies.get(reply.reply_queue)
            if topic is None:
                raise UndecodableRecord("unknown_reply_queue", "its topic is not in KOUNTER_NEST__REPLIES any more")
            key = reply.ext_id.encode()
            return OtherPartition(topic, partition_of(key, self._partitions[topic])), ProducerRecord(
                key, write_reply(reply), JSON
            )
        asked = read_message(record.value, id, self._settings)
        key = asked.ext_id.encode()
        headers = make_headers(
            id=id, source=SOURCE, type=contract(CardAsked).full_name, time_micros=record.timestamp * 1_000,
            subject=asked.ext_id,
        )  # fmt: skip
        entry = ProducerRecord(key, self._serde.encode(core_users.USERS, asked), headers, record.timestamp)
        return OtherPartition(core_users.USERS, partition_of(key, self._kafka.partitions)), entry
