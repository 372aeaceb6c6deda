"""Reconciliation: what the operator's REST has is compared with what was sent; differences become records.

Accounts with their owners, flats, connections and services; and the history of abonents who wrote lately: a message
that is there and never came over Kafka. What the company itself said is not taken back from there.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, NamedTuple

from aiokafka.errors import KafkaError
from loguru import logger

from adapters.rosdomofon import models
from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.known import Known
from adapters.rosdomofon.rows import abonent_row, account_row, connection_row, flat_row, said_row, service_row
from schemas.errors import DeliveryError, InvalidInput
from schemas.producer import RecordProducer

TOLERANCE_S: Final = 600.0
"""The history's time of a message and Kafka's differ by no more; a younger one may still come."""
LATELY_S: Final = 3_600.0
AT_ONCE: Final = 200
"""Records that are sent together."""


class Compared(NamedTuple):
    """One comparison: how much was looked at, how much of it was new or other."""

    looked: int
    sent: int
    messages: int
    """Of the sent ones: messages that never came over Kafka."""


class Comparison:
    """``clock``: seconds since the epoch."""

    def __init__(
        self, api: RosDomofonAPI, producer: RecordProducer, known: Known, clock: Callable[[], float] = time.time
    ) -> None:
        self._api, self._producer, self._known, self._clock = api, producer, known, clock

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
        """Once, all. Raises DeliveryError from the operator, KafkaError from our cluster."""
        looked, sent = await self._tell(self._things())
        more, missed = await self._tell(self._missed())
        return Compared(looked + more, sent + missed, missed)

    async def _things(self) -> AsyncIterator[Any]:
        async for service in self._api.get_services():
            yield service_row(service)
        for account in await self._api.get_accounts():
            yield account_row(account)
            if account.owner is not None:
                yield abonent_row(account.owner, company=account.company.short_name if account.company else None)
            for flat in await self._api.get_account_flats(account.id):
                yield flat_row(flat)
            for connection in await self._api.get_account_connections(account.id):
                yield connection_row(connection, account.id)

    async def _missed(self) -> AsyncIterator[Any]:
        now = self._clock()
        since, until = max(now - LATELY_S, self._known.begun + TOLERANCE_S), now - TOLERANCE_S
        for abonent in self._known.abonents(since - TOLERANCE_S):
            for said in await self._said(int(abonent), since, until):
                yield said_row(said, int(abonent))

    async def _said(self, abonent: int, since: float, until: float) -> list[models.Message]:
        """What an abonent said in that time and did not come; each that came stands for one of the history."""
        history: dict[str, list[models.Message]] = defaultdict(list)
        async for said in self._api.iter_abonent_messages(abonent):
            at = said.message_date.timestamp() if said.message_date else 0.0
            if at < since:
                break
            if said.incoming and said.message and at <= until:
                history[said.message].append(said)
        found = []
        for text, sayings in history.items():
            came = self._known.times(str(abonent), text, since - TOLERANCE_S)
            for said in reversed(sayings):  # the earliest first, as they came
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
        rows = list(waiting.values())
        waiting.clear()
        for acknowledged in [await self._producer.send_nowait(row) for row in rows]:
            await acknowledged
        self._known.sent(rows)
        return len(rows)


def _nearest(said: models.Message, came: list[float]) -> float | None:
    """The first that came within the tolerance."""
    at = said.message_date.timestamp() if said.message_date else 0.0
    return next((time for time in came if abs(time - at) <= TOLERANCE_S), None)
