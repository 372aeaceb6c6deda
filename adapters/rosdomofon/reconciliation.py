"""Reconciliation: what the operator's REST has is compared with what was sent; differences become records.

Accounts with their owners, flats, connections and services; and histories of abonents, those of the accounts and those
who wrote: a message that is there and never came over Kafka. A history is looked through from where it was the last
time, `compare_days` at most; so many abonents each time that the operator is not asked too much. What the company
itself said is not taken back from there.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any, Final, NamedTuple

from aiokafka.errors import KafkaError
from loguru import logger

from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.mapping import abonent_row, account_row, connection_row, flat_row, said_row, service_row
from adapters.rosdomofon.reconciliation_state import Known
from adapters.rosdomofon.rest import models
from adapters.rosdomofon.unread import Unread
from schemas.domofon import Message
from schemas.errors import DeliveryError, InvalidInput
from streams.kafka.producer import RecordProducer

TOLERANCE_S: Final = 600.0
"""The history's time of a message and Kafka's differ by no more; a younger one may still come."""
PACE_S: Final = 0.02
"""Between two histories: they are not all asked for at once."""
AT_ONCE: Final = 200
"""Records that are sent together."""


Heard = Callable[[float, Collection[str]], Awaitable[list[Message]]]
"""What stands on the operator's Kafka since a moment, of abonents."""


class Compared(NamedTuple):
    """One comparison: how much was looked at, how much of it was new or other."""

    looked: int
    sent: int
    messages: int
    """Of the sent ones: messages that never came over Kafka."""
    unread: int = 0
    """Accounts, abonents and others that could not be read."""


class Comparison:
    """``clock``: seconds since the epoch."""

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
        """``abonents``: whose histories one comparison looks through; ``days``: how far back."""
        self._api, self._producer, self._known, self._heard, self._clock = api, producer, known, heard, clock
        self._abonents, self._kept_s = abonents, days * 86_400
        self._unread = Unread()

    async def run(self, minutes: float) -> None:
        """Compare, wait, compare again, until cancelled; what fails is tried again the next time."""
        while True:
            try:
                found = await self.compare()
                logger.info("rosdomofon comparison: {}", found._asdict())
            except (DeliveryError, InvalidInput, KafkaError) as error:
                logger.warning("rosdomofon comparison failed, again in {} min: {}", minutes, error)
            await asyncio.sleep(minutes * 60)

    async def compare(self) -> Compared:
        """Once, all. What can't be read is named, and looked at again the next time, behind the others.

        Raises DeliveryError from the operator if that is so with many in a row, KafkaError from our cluster.
        """
        self._unread.begin()
        looked, sent = await self._tell(self._things())
        now = self._clock()
        self._known.forget(now - self._kept_s - 2 * TOLERANCE_S)
        due, until = self._due(), now - TOLERANCE_S
        rows = [row async for row in self._missed(due, until)]
        if rows:  # none of them may be on its way, or have come by another bridge
            silent = {row.abonent_ext_id for row in rows}
            since = min(row.said_at for row in rows) / 1e6 - TOLERANCE_S
            self._known.came(await self._heard(since, silent))
            rows = [row async for row in self._missed([one for one in due if one[0] in silent], until)]
        more, missed = await self._tell(_each(rows))
        self._known.looked((abonent for abonent, _ in due if _abonent(abonent) not in self._unread), until)
        return Compared(looked + more, sent + missed, missed, self._unread.count)

    def _due(self) -> list[tuple[str, float]]:
        """Those that could not be read come last, and take no more than a tenth of the places from others."""
        due = self._known.due(self._abonents + len(self._unread.before))
        late = [one for one in due if _abonent(one[0]) in self._unread.before]
        others = [one for one in due if _abonent(one[0]) not in self._unread.before]
        kept = min(len(late), max(1, self._abonents // 10))
        return [*others[: self._abonents - kept], *late][: self._abonents]

    async def _things(self) -> AsyncIterator[Any]:
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
                self._known.met([str(account.owner.id)])
                yield abonent_row(account.owner, company=account.company.short_name if account.company else None)
            name, rows = f"account {account.id}", list[Any]()
            with unread.part_of(name):
                rows += [flat_row(flat) for flat in await api.get_account_flats(account.id, unread.row_of(name))]
            with unread.part_of(name):
                connections = await api.get_account_connections(account.id, unread.row_of(name))
                rows += [connection_row(connection, account.id) for connection in connections]
            for row in rows:
                yield row

    async def _missed(self, due: list[tuple[str, float]], until: float) -> AsyncIterator[Any]:
        earliest = max(until - self._kept_s, self._known.begun + TOLERANCE_S)
        for abonent, looked in due:
            sayings: list[models.Message] = []
            with self._unread.part_of(_abonent(abonent)):
                sayings = await self._said(int(abonent), max(earliest, looked), until)
            for said in sayings:
                yield said_row(said, int(abonent))
            await asyncio.sleep(PACE_S)

    async def _said(self, abonent: int, since: float, until: float) -> list[models.Message]:
        """What an abonent said in that time and did not come; each that came stands for one of the history."""
        history: dict[str, dict[int, models.Message]] = defaultdict(dict)
        passed = self._unread.row_of(_abonent(abonent))
        async for said in self._api.iter_abonent_messages(abonent, passed=passed):
            at = said.message_date.timestamp() if said.message_date else 0.0
            if at < since:
                break
            if said.incoming and said.message and at <= until:
                history[said.message][said.id] = said  # the same one may come twice
        found = []
        for text, sayings in history.items():
            came = self._known.times(str(abonent), text, since - TOLERANCE_S)
            for said in reversed(sayings.values()):  # the earliest first, as they came
                if (match := _nearest(said, came)) is None:
                    found.append(said)
                else:
                    came.remove(match)
        return sorted(found, key=lambda said: said.id)

    async def _tell(self, rows: AsyncIterator[Any]) -> tuple[int, int]:
        """Send what differs. Returns how many were looked at and sent."""
        looked = sent = 0
        waiting: dict[tuple[type, str], Any] = {}
        async for row in rows:
            looked += 1
            if self._known.differs(row):
                waiting[type(row), row.ext_id] = row
            if len(waiting) >= AT_ONCE:
                sent += await self._send(waiting)
        return looked, sent + await self._send(waiting)

    async def _send(self, waiting: dict[tuple[type, str], Any]) -> int:
        rows, acknowledgements = [], []
        for row in waiting.values():
            try:
                acknowledgements.append(await self._producer.send_nowait(row))
                rows.append(row)
            except InvalidInput as error:  # the others must not wait for it, comparison after comparison
                name, expected = type(row).__name__, error.expected
                logger.warning("rosdomofon comparison: {} {} is passed over: {}", name, row.ext_id, expected)
        waiting.clear()
        for acknowledged in acknowledgements:
            await acknowledged
        self._known.sent(rows)
        return len(rows)


async def _each(rows: list[Any]) -> AsyncIterator[Any]:
    for row in rows:
        yield row


def _abonent(id: int | str) -> str:
    return f"abonent {id}"


def _nearest(said: models.Message, came: list[float]) -> float | None:
    """The first that came within the tolerance."""
    at = said.message_date.timestamp() if said.message_date else 0.0
    return next((time for time in came if abs(time - at) <= TOLERANCE_S), None)
