"""The operator's side of its Kafka: it writes abonents' messages and sign-ups, and stores the companies' messages
(docs/contracts/rosdomofon.md#kafka).

Records have no key and no headers. A company's record is identified by topic, partition and offset, so that one that is
read again after a restart counts once.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError
from loguru import logger
from pydantic import ValidationError

from adapters.rosdomofon.settings import ALL, IN, OUT, SIGN_UPS, SUPPORT
from adapters.rosdomofon.twin.operator import Operator
from adapters.rosdomofon.twin.requests import KafkaMessage
from adapters.twin_kit.bodies import problems
from streams.kafka.settings import KafkaSettings

Doc = dict[str, Any]
MALFORMED: Final[dict[str, bytes | None]] = {
    "not_json": b'{"fromAbonent": {"id": 1',
    "not_utf8": b'{"fromAbonent": {"id": 1}, "message": "\xd0"}',
    "no_value": None,
    "not_an_object": b"[1]",
    "no_sender": '{"message": "Кто это?"}'.encode(),
    "wrong_id": b'{"fromAbonent": {"id": "?", "phone": 913}, "id": "?", "abonent": {"id": 1, "phone": 913}}',
    "too_deep": b'{"fromAbonent": {"id": 1}, "properties": ' + b"[" * 500 + b"]" * 500 + b"}",
    "id_above_64_bits": b'{"fromAbonent": {"id": 18446744073709551616}, "id": 18446744073709551616}',
}
"""Values that are no valid record, for topics of messages and of sign-ups."""


class Place(NamedTuple):
    """Topic, partition and offset of a record."""

    topic: str
    partition: int
    offset: int


class Heard(NamedTuple):
    """A message of a company, one for each record."""

    place: Place
    message: KafkaMessage


class TwinOperator:
    """The operator on a Kafka cluster, as an asynchronous context manager.

    It creates the companies' topics, and reads ``MESSAGES_OUT_<company>`` from the beginning.
    ``async with TwinOperator(kafka, twin.operator, ["SK_SB"]) as on_kafka: await on_kafka.abonent_says("SK_SB", id,
    "…")``.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        operator: Operator,
        companies: Sequence[str],
        *,
        partitions: int = 1,
        append_time: bool = False,
    ) -> None:
        """``append_time``: the brokers set the time of records, and ignore the producers' times."""
        self._kafka, self._operator, self._companies, self._partitions = kafka, operator, tuple(companies), partitions
        self._config = {"message.timestamp.type": "LogAppendTime"} if append_time else {}
        self._news = asyncio.Condition()
        self._listening: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        await self._make_topics()
        self._producer = AIOKafkaProducer(**self._kafka.client_options(), enable_idempotence=True, acks="all")
        self._consumer = AIOKafkaConsumer(**self._kafka.client_options(), auto_offset_reset="earliest")
        try:
            await self._producer.start()
            await self._consumer.start()
        except BaseException:
            await self._end()
            raise
        self._consumer.assign([TopicPartition(t, p) for t in self.topics(OUT) for p in range(self._partitions)])
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        await self._end()

    async def _end(self) -> None:
        await self._consumer.stop()
        await self._producer.stop()

    def topics(self, prefix: str) -> list[str]:
        """Return the companies' topics with a prefix."""
        return [f"{prefix}{company}" for company in self._companies]

    async def abonent_says(self, company: str, abonent_id: int, text: str, *, as_message: bool = False) -> Place:
        """Write a message of an abonent. ``as_message``: the text stands in ``message``, not in ``localizedPush``.

        Raises KeyError if the abonent is unknown, KafkaError.
        """
        phone = self._phone(abonent_id)
        sender = {"id": abonent_id, "phone": phone, "companyId": 1292, "restrictionPushTokenIds": []}
        push = None if as_message else {"message": text, "messageKey": None, "messageArgs": None}
        doc = {
            "fromAbonent": sender,
            "channel": SUPPORT,
            "message": text if as_message else None,
            "deliveryMethod": None,
            "toAbonents": None,
            "broadcast": False,
            "waitResponse": True,
            "localizedPush": push,
        }
        self._operator.keep_message(abonent_id, phone, SUPPORT, True, text, "app")
        return await self.produce(f"{IN}{company}", _bytes(doc))

    async def sign_up(self, company: str, abonent_id: int, address: Doc, *, to_all: bool = False, **more: Any) -> Place:
        """Write a sign-up. ``to_all``: on ``SIGN_UPS_ALL``; ``more``: further fields as on the wire.

        Raises KeyError if the abonent is unknown, KafkaError.
        """
        doc = {
            "abonent": {"id": abonent_id, "phone": self._phone(abonent_id)},
            "address": address,
            "application": {"id": 1, "name": "rd_android", "provider": "google", "companyId": 3},
            "virtual": False,
            "timeZone": "Europe/Moscow +03:00",
            "offerSigned": False,
            "contractNumber": "",
            "status": "UNPROCESSED",
            "createdAt": self._operator.now_ms(),
            "uid": str(uuid.uuid4()),
            **more,
        }
        return await self.produce(f"{SIGN_UPS}{ALL if to_all else company}", _bytes(self._operator.keep_sign_up(doc)))

    async def malformed(self, topic: str, way: str) -> Place:
        """Write an invalid record; ``way`` is a key of `MALFORMED`. Raises KeyError for another one, KafkaError."""
        return await self.produce(topic, MALFORMED[way])

    async def produce(self, topic: str, value: bytes | None) -> Place:
        """Write a record; returns its place once the cluster has acknowledged it. Raises KafkaError."""
        key = b"none" if value is None else None  # a producer sends at least one of the two
        sent = await self._producer.send_and_wait(topic, value, key)
        return Place(sent.topic, sent.partition, sent.offset)

    async def redeliver(self, group: str, topic: str, count: int) -> None:
        """Move the offsets of a group without members back by ``count`` on each partition, as after a lost commit.

        Raises KafkaError.
        """
        consumer = AIOKafkaConsumer(**self._kafka.client_options(), group_id=group, enable_auto_commit=False)
        await consumer.start()
        try:
            places = [TopicPartition(topic, p) for p in range(self._partitions)]
            consumer.assign(places)
            done = {place: await consumer.committed(place) for place in places}
            await consumer.commit({place: max(0, offset - count) for place, offset in done.items() if offset})
        finally:
            await consumer.stop()

    def heard(self) -> list[Heard]:
        """Return the companies' valid messages in the order in which they were read."""
        rows = self._operator.store.rows("SELECT * FROM taken WHERE wrong IS NULL ORDER BY rowid")
        return [
            Heard(
                Place(row["topic"], row["partition"], row["position"]),
                KafkaMessage.model_validate_json(row["value"]),
            )
            for row in rows
        ]

    def count(self) -> int:
        """Return the number of messages in `heard`."""
        (row,) = self._operator.store.rows("SELECT count(*) AS n FROM taken WHERE wrong IS NULL")
        return int(row["n"])

    def wrong(self) -> list[tuple[Place, str]]:
        """Return the companies' invalid records, each with the reason."""
        rows = self._operator.store.rows("SELECT * FROM taken WHERE wrong IS NOT NULL ORDER BY rowid")
        return [(Place(row["topic"], row["partition"], row["position"]), row["wrong"]) for row in rows]

    async def until(self, reached: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Wait until ``reached`` returns True; it is called again after each batch of records. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s), self._news:
            await self._news.wait_for(reached)

    async def _make_topics(self) -> None:
        names = [name for prefix in (IN, OUT, SIGN_UPS) for name in self.topics(prefix)] + [f"{SIGN_UPS}{ALL}"]
        admin = AIOKafkaAdminClient(**self._kafka.client_options())
        await admin.start()
        try:
            for name in names:
                try:
                    await admin.create_topics(
                        [NewTopic(name, self._partitions, self._kafka.replication_factor, topic_configs=self._config)]
                    )
                except TopicAlreadyExistsError:
                    continue
        finally:
            await admin.close()

    async def _listen(self) -> None:
        while True:
            for records in (await self._consumer.getmany(timeout_ms=200)).values():
                with self._operator.store.transaction():
                    for record in records:
                        self._take(Place(record.topic, record.partition, record.offset), record)
                async with self._news:
                    self._news.notify_all()

    def _take(self, place: Place, record: Any) -> None:
        """Store a company's record, unless it is stored already."""
        message, wrong = _read(record)
        sql = "INSERT OR IGNORE INTO taken VALUES (?, ?, ?, ?, ?)"
        if not self._operator.store.run(sql, *place, record.value, wrong).rowcount:
            return
        if message is None:
            logger.warning("rosdomofon twin: {}: {}", place, wrong)
            return
        for addressee in message.to_abonents:
            self._operator.keep_message(addressee.id, addressee.phone, message.channel, False, message.message, "kafka")

    def _phone(self, abonent_id: int) -> int:
        known = self._operator.store.get("abonent", abonent_id)
        if known is None:
            raise KeyError(abonent_id)
        phone: int = known["phone"]
        return phone


def _read(record: Any) -> tuple[KafkaMessage | None, str | None]:
    """Returns a company's message, or the reason why it is invalid: the twin is strict."""
    if record.key is not None or record.headers:
        return None, "a key or headers"
    try:
        return KafkaMessage.model_validate_json(record.value or b""), None
    except ValidationError as error:
        missing = sorted(str(e["loc"][0]) for e in error.errors() if e["type"] == "missing" and len(e["loc"]) == 1)
        return None, f"without {', '.join(missing)}" if missing else problems(error)


def _bytes(doc: Doc) -> bytes:
    return json.dumps(doc, ensure_ascii=False).encode()
