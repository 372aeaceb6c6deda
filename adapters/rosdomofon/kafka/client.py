"""A small client of the operator's Kafka, for messages and sign-ups (docs/contracts/rosdomofon.md#kafka).

It works without the rest of Kounter. An offset is committed after the handler has returned; after a crash before that
the record comes again (at least once), with the same `Place`.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from aiokafka.errors import KafkaError
from loguru import logger

from adapters.rosdomofon.kafka.errors import failed
from adapters.rosdomofon.kafka.group_reader import GroupReader
from adapters.rosdomofon.kafka.models import KafkaAbonentInfo, KafkaIncomingMessage, KafkaOutgoingMessage, Place, SignUp
from adapters.rosdomofon.kafka.outbound_log import OutboundLog
from adapters.rosdomofon.kafka.topics import read_record, write_record
from adapters.rosdomofon.rest.checks import build_request
from adapters.rosdomofon.settings import OUT, RosDomofonKafkaSettings
from schemas.errors import BrokenSetup, InvalidInput, UndecodableRecord
from streams.kafka.idempotent import IdempotentProducer
from streams.kafka.partitioner import partition_of

FIRST_WAIT_S, MOST_WAIT_S = 0.2, 30.0
"""Shortest and longest pause between calls of a handler that fails."""
LINGER_MS: Final = 5
"""Time that a record waits for others to share its request, which costs the cluster more than its records do."""

MessageHandler = Callable[[KafkaIncomingMessage], Awaitable[None] | None]
SignUpHandler = Callable[[SignUp], Awaitable[None] | None]
Addressee = Mapping[str, Any] | KafkaAbonentInfo


class Malformed(NamedTuple):
    """A record that can't be read."""

    place: Place
    value: bytes | None
    reason: str
    """Explanation without values."""


class RosDomofonKafka:
    """Reads and sends messages on the operator's Kafka, as an asynchronous context manager.

    ``async with RosDomofonKafka(settings) as kafka: kafka.set_message_handler(handle); await kafka.start()``.
    """

    def __init__(
        self,
        settings: RosDomofonKafkaSettings,
        on_malformed: Callable[[Malformed], Awaitable[None] | None] | None = None,
    ) -> None:
        self._settings, self._on_malformed = settings, on_malformed
        self._on_message: MessageHandler | None = None
        self._on_sign_up: SignUpHandler | None = None
        self._reader: GroupReader | None = None
        self._producer = IdempotentProducer(**settings.client_options(), linger_ms=LINGER_MS)
        self._logs: dict[str, OutboundLog] = {}
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.stop()
            for log in self._logs.values():
                await log.close()
        finally:
            await self._producer.stop()

    def set_message_handler(self, handler: MessageHandler) -> None:
        """Set the function or coroutine function that is called with each message of abonents.

        If it raises, it is called again with the same message after a pause: no message is skipped.

        >>> kafka.set_message_handler(lambda message: print(message.from_abonent.id, message.text))
        """
        self._on_message = handler

    def set_sign_up_handler(self, handler: SignUpHandler) -> None:
        """Set the handler of sign-ups, as `set_message_handler`. Without one sign-ups are skipped.

        >>> kafka.set_sign_up_handler(lambda sign_up: print(sign_up.id, sign_up.status))
        """
        self._on_sign_up = handler

    async def start(self) -> None:
        """Join the group and read in the background, from its committed offsets.

        Raises BrokenSetup without companies, group or handler, DeliveryUnavailable or DeliveryDenied from the cluster.

        >>> await kafka.start()
        """
        if self._on_message is None and self._on_sign_up is None:
            raise BrokenSetup("no handler of messages is set", hint="Call set_message_handler first.")
        if self._reader is not None:
            raise BrokenSetup("the consumer is already started", hint="Call stop first.")
        self._reader = reader = GroupReader(self._settings)
        try:
            await reader.start()
        except BaseException:
            self._reader = None
            raise
        self._reading = asyncio.create_task(self._read(reader))

    async def wait(self) -> None:
        """Wait until `stop`. Raises DeliveryDenied if the cluster denies access.

        >>> await kafka.wait()
        """
        if (reading := self._reading) is not None:
            await asyncio.wait({reading})
            if not reading.cancelled():
                reading.result()

    async def stop(self) -> None:
        """Stop reading, and commit the handled records.

        >>> await kafka.stop()
        """
        reading, reader = self._reading, self._reader
        if reading is None or reader is None:  # not started, or still joining the group
            return
        self._reading = self._reader = None
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await reader.stop()

    async def send_message(
        self, to_abonent_id: int, to_abonent_phone: int | str, message: str, *, company: str | None = None
    ) -> Place:
        """Send a message to one abonent; returns its place once the cluster has acknowledged it.

        ``company``: required if the settings name several. Raises as `send`.

        >>> (await kafka.send_message(1574870, 79308312222, "Ответ оператора")).offset
        0
        """
        return await self.send_message_to_multiple(
            [{"id": to_abonent_id, "phone": to_abonent_phone}], message, company=company
        )

    async def send_message_to_multiple(
        self, to_abonents: Iterable[Addressee], message: str, *, company: str | None = None
    ) -> Place:
        """Send a message to several abonents in one record. Raises as `send`.

        >>> (await kafka.send_message_to_multiple([{"id": 1574870, "phone": 79308312222}], "Плановые работы")).offset
        1
        """
        outgoing = build_request(KafkaOutgoingMessage, message=message, to_abonents=list(to_abonents))
        return await self.send(outgoing, company=company)

    async def send(
        self,
        message: KafkaOutgoingMessage,
        *,
        company: str | None = None,
        at_ms: int | None = None,
        again: bool = False,
        behind: Place | None = None,
    ) -> Place:
        """Send a message; returns its place. Messages to one abonent keep their order, as they go to one partition.

        ``at_ms``: the record's time in milliseconds since the epoch, None for now. ``again``: the message may have been
        sent with this time before; it is looked up first, after the place ``behind`` of an earlier message, and sent
        only if it is not found. Raises InvalidInput, DeliveryRefused, DeliveryUnavailable, OutcomeUnknown or
        DeliveryDenied.

        >>> (await kafka.send(KafkaOutgoingMessage(message="А", to_abonents=[KafkaAbonentInfo(id=1574870)]))).offset
        2
        """
        topic, value = f"{OUT}{self._company(company)}", write_record(message)
        submitted = False
        try:
            producer = await self._producer.current()
            partitions = sorted(await producer.partitions_for(topic))
            if again and at_ms is not None:
                await producer.flush()  # the record of a cancelled call may still be in the producer
                if found := await self._log(topic).find(partitions, value, at_ms, behind):
                    return found
            partition = None
            if len(message.to_abonents) == 1:
                partition = partitions[partition_of(str(message.to_abonents[0].id).encode(), len(partitions))]
            acknowledged = await self._producer.send(topic, value, None, partition=partition, timestamp_ms=at_ms)
            submitted = True
            sent = await acknowledged
        except KafkaError as error:
            age_s = time.time() - at_ms / 1_000 if at_ms is not None else 0.0
            raise failed(f"a message on {topic}", error, write=submitted, age_s=age_s) from error
        except asyncio.CancelledError:
            if submitted:  # the record would still arrive, after the next owner of the command has looked it up
                self._producer.drop()
            raise
        logger.debug("rosdomofon kafka: a message to {} abonents on {}", len(message.to_abonents), topic)
        return Place(sent.topic, sent.partition, sent.offset)

    def _company(self, company: str | None) -> str:
        companies = self._settings.companies
        if company is None and len(companies) != 1:
            raise InvalidInput("company", "a name, as the settings have several companies or none", company)
        if company is not None and company not in companies:
            raise InvalidInput("company", "one of the settings' companies", company)
        return company or companies[0]

    def _log(self, topic: str) -> OutboundLog:
        return self._logs.setdefault(topic, OutboundLog(self._settings, topic))

    async def _read(self, reader: GroupReader) -> None:
        while True:
            for partition, records in (await reader.batch()).items():
                for record in records:
                    await self._dispatch(Place(record.topic, record.partition, record.offset), record.value)
                    reader.done({partition: [record]})
                await reader.commit()

    async def _dispatch(self, place: Place, value: bytes | None) -> None:
        """Call the handler of a record until it succeeds."""
        try:
            read = read_record(place.topic, value).at(place)
        except UndecodableRecord as error:
            logger.warning("rosdomofon kafka: {} is skipped: {}", place, error)
            if self._on_malformed is not None:
                await self._call(place, self._on_malformed, Malformed(place, value, error.message))
            return
        if isinstance(read, SignUp):
            if self._on_sign_up is not None:
                await self._call(place, self._on_sign_up, read)
        elif self._on_message is not None:
            await self._call(place, self._on_message, read)

    async def _call(self, place: Place, handler: Callable[[Any], Awaitable[None] | None], argument: object) -> None:
        """Call a handler, with growing pauses until it does not raise."""
        wait = FIRST_WAIT_S
        while True:
            try:
                result = handler(argument)
                if inspect.isawaitable(result):
                    await result
                return
            except Exception as error:
                # The type alone: the error's text may contain an abonent's message.
                logger.error("rosdomofon kafka: the handler fails at {}: {}", place, type(error).__name__)
            await asyncio.sleep(wait)
            wait = min(2 * wait, MOST_WAIT_S)
