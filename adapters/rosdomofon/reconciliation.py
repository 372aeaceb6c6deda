"""Reconciliation compares the operator's REST with the records that were sent, and sends the differences.

It reads accounts with their owners, flats, connections and services, and the message histories of abonents, both owners
of accounts and senders of messages: a message of a history that never came over Kafka is sent. A history is read from
where the last run ended, at most `compare_days` back, and each run reads a limited number of histories, to limit the
load on the operator. Messages that the company itself sent are not read back.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any, Final, NamedTuple

from aiokafka.errors import KafkaError
from loguru import logger

from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.mapping import abonent_row, account_row, connection_row, flat_row, history_row, service_row
from adapters.rosdomofon.reconciliation_state import Known
from adapters.rosdomofon.rest import models
from adapters.rosdomofon.unread import Unread
from schemas.domofon import Message
from schemas.errors import InvalidInput, KounterError
from streams.kafka.producer import RecordProducer

TOLERANCE_S: Final = 600.0
"""Largest difference between a message's time in the history and on Kafka; a younger message may still come."""
PACE_S: Final = 0.02
"""Pause between the requests for two histories."""
AT_ONCE: Final = 200
"""Records in one batch of the producer."""


Heard = Callable[[float, Collection[str]], Awaitable[list[Message]]]
"""Returns the abonents' messages on the operator's Kafka since a time, in seconds since the epoch."""


class Compared(NamedTuple):
    """The counts of one comparison."""

    looked: int
    """Records that were compared."""
    sent: int
    """Records that were new or different."""
    messages: int
    """Messages among the sent records: those that never came over Kafka."""
    unread: int = 0
    """Accounts, abonents and other parts that could not be read."""


class Comparison:
    """Compares the operator's REST with the records sent. ``clock``: seconds since the epoch."""

    def __init__(
        self,
        api: RosDomofonAPI,
        producer: RecordProducer,
        known: Known,
        heard: Heard,
        *,
        abonents: int = 500,
        days: float = 3.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``abonents``: number of histories that one comparison reads; ``days``: how far back."""
        self._api, self._producer, self._state, self._clock = api, producer, known, clock
        self._inbound_messages = heard
        self._abonents, self._kept_s = abonents, days * 86_400
        self._unread = Unread()

    async def run(self, minutes: float) -> None:
        """Compare every so many minutes until cancelled; a comparison that fails is retried at the next interval."""
        while True:
            try:
                counts = await self.compare()
                logger.info("rosdomofon comparison: {}", counts._asdict())
            except (KounterError, KafkaError, sqlite3.Error) as error:
                logger.warning("rosdomofon comparison failed, retry in {} min: {}", minutes, error)
            await asyncio.sleep(minutes * 60)

    async def compare(self) -> Compared:
        """Compare everything once. A part that can't be read is logged, and read again the next time after the others.

        Raises DeliveryError if many parts in a row can't be read, KafkaError from either cluster, UnreadableBatch from
        the operator's, sqlite3.Error from the state.
        """
        self._unread.begin()
        looked, sent = await self._send_changes(self._rest_rows())
        now = self._clock()
        self._state.forget(now - self._kept_s - 2 * TOLERANCE_S)
        due, until = self._due(), now - TOLERANCE_S
        missing = [row async for row in self._missing_messages(due, until)]
        if missing:  # one may still be in the bridge's backlog, or have come through another bridge
            abonents = {row.abonent_ext_id for row in missing}
            since = min(row.said_at for row in missing) / 1e6 - TOLERANCE_S
            self._state.came(await self._inbound_messages(since, abonents))
            again = [one for one in due if one[0] in abonents]
            missing = [row async for row in self._missing_messages(again, until)]
        more, messages = await self._send_changes(_each(missing))
        self._state.looked((abonent for abonent, _ in due if _abonent(abonent) not in self._unread), until)
        return Compared(looked + more, sent + messages, messages, self._unread.count)

    def _due(self) -> list[tuple[str, float]]:
        """Return the abonents to read with the time to read from; those that failed last time come last, in at most a
        tenth of the places."""
        due = self._state.due(self._abonents + len(self._unread.before))
        failed = [one for one in due if _abonent(one[0]) in self._unread.before]
        others = [one for one in due if _abonent(one[0]) not in self._unread.before]
        places = min(len(failed), max(1, self._abonents // 10))
        return [*others[: self._abonents - places], *failed][: self._abonents]

    async def _rest_rows(self) -> AsyncIterator[Any]:
        api, unread = self._api, self._unread
        services: list[models.Service] = []
        with unread.part_of("services"):
            services = [service async for service in api.get_services(unread.row_of("services"))]
        for service in services:
            yield service_row(service)
        accounts = await api.get_accounts(unread.row_of("accounts"))
        for account in sorted(accounts, key=lambda account: f"account {account.id}" in unread.before):
            yield account_row(account)
            if account.owner is not None:
                self._state.met([str(account.owner.id)])
                yield abonent_row(account.owner, company=account.company.short_name if account.company else None)
            name, rows = f"account {account.id}", list[Any]()
            with unread.part_of(name):
                rows += [flat_row(flat) for flat in await api.get_account_flats(account.id, unread.row_of(name))]
            with unread.part_of(name):
                connections = await api.get_account_connections(account.id, unread.row_of(name))
                rows += [connection_row(connection, account.id) for connection in connections]
            for row in rows:
                yield row

    async def _missing_messages(self, due: list[tuple[str, float]], until: float) -> AsyncIterator[Any]:
        earliest = max(until - self._kept_s, self._state.begun + TOLERANCE_S)
        for abonent, looked in due:
            missing: list[models.Message] = []
            with self._unread.part_of(_abonent(abonent)):
                missing = await self._missing_of(int(abonent), max(earliest, looked), until)
            for message in missing:
                yield history_row(message, int(abonent))
            await asyncio.sleep(PACE_S)

    async def _missing_of(self, abonent: int, since: float, until: float) -> list[models.Message]:
        """Return an abonent's messages of that time that did not come over Kafka, by id. Each message that came
        accounts for one message of the history."""
        history: dict[str, dict[int, models.Message]] = defaultdict(dict)
        on_unreadable = self._unread.row_of(_abonent(abonent))
        async for message in self._api.iter_abonent_messages(abonent, on_unreadable=on_unreadable):
            at = message.message_date.timestamp() if message.message_date else 0.0
            if at < since:
                break
            if message.incoming and message.message and at <= until:
                history[message.message][message.id] = message  # the same one may come twice
        missing = []
        for text, messages in history.items():
            came = self._state.times(str(abonent), text, since - TOLERANCE_S)
            for message in reversed(messages.values()):  # the earliest first, as they came
                if (match := _nearest(message, came)) is None:
                    missing.append(message)
                else:
                    came.remove(match)
        return sorted(missing, key=lambda message: message.id)

    async def _send_changes(self, rows: AsyncIterator[Any]) -> tuple[int, int]:
        """Send the rows that differ from those sent before. Returns how many were compared and how many sent."""
        looked = sent = 0
        batch: dict[tuple[type, str], Any] = {}
        async for row in rows:
            looked += 1
            if self._state.differs(row):
                batch[type(row), row.ext_id] = row
            if len(batch) >= AT_ONCE:
                sent += await self._send(batch)
        return looked, sent + await self._send(batch)

    async def _send(self, batch: dict[tuple[type, str], Any]) -> int:
        """Send and empty a batch. Returns how many rows were acknowledged."""
        rows, acknowledgements = [], []
        for row in batch.values():
            try:
                acknowledgements.append(await self._producer.send_nowait(row))
                rows.append(row)
            except InvalidInput as error:  # one invalid row must not stop the others in every comparison
                name, expected = type(row).__name__, error.expected
                logger.warning("rosdomofon comparison: {} {} is skipped: expected {}", name, row.ext_id, expected)
        batch.clear()
        for acknowledged in acknowledgements:
            await acknowledged
        self._state.sent(rows)
        return len(rows)


async def _each(rows: list[Any]) -> AsyncIterator[Any]:
    for row in rows:
        yield row


def _abonent(id: int | str) -> str:
    return f"abonent {id}"


def _nearest(message: models.Message, came: list[float]) -> float | None:
    """Returns the first of the times that is within the tolerance of the message's."""
    at = message.message_date.timestamp() if message.message_date else 0.0
    return next((time for time in came if abs(time - at) <= TOLERANCE_S), None)
