"""What people change in the portal: an entity read anew after an event, and a walk through all that changed since.

Events are sent once and may be lost, so who wants to miss nothing goes through what changed from time to time
(docs/contracts/bitrix24.md#events). Deleted leads are in no list: `audit` finds those.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from loguru import logger
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapters.bitrix24.leads import PAGE, BadLead, LeadApi, PortalLead, Text, as_time
from adapters.bitrix24.rest.answers import Bitrix24Refused, Unreadable
from adapters.bitrix24.rest.client import Bitrix24Client
from schemas.errors import DeliveryDenied, DeliveryError, DeliveryRefused, DeliveryUnavailable, shorten

OVERLAP: Final = timedelta(seconds=60)
"""Walked again each time: what was being saved while we read has an older time than it could be seen at."""
SECOND: Final = timedelta(seconds=1)
"""The portal keeps times to the second."""

MOST_UNREAD: Final = 1_000
"""Leads that are passed over and tried again."""
NOTHING: Final = "nothing of a whole page of leads can be read"

OnLead = Callable[[PortalLead], Awaitable[None]]
Sleep = Callable[[float], Awaitable[None]]


class PortalComment(BaseModel):
    """A comment in a timeline. Ours end with the mark that `comments.mark` reads."""

    model_config = ConfigDict(frozen=True)
    id: int = Field(alias="ID", gt=0)
    entity_id: int = Field(alias="ENTITY_ID")
    entity_type: str = Field(alias="ENTITY_TYPE")
    text: Text = Field(alias="COMMENT")
    """With its markup."""


async def read_lead(leads: LeadApi, lead_id: int) -> PortalLead | None:
    """After an event: the lead as it is now, which may be newer than the event. None: it is deleted."""
    try:
        return await leads.get(lead_id)
    except Bitrix24Refused as error:
        if error.not_found:
            return None
        raise


async def read_comment(portal: Bitrix24Client, comment_id: int) -> PortalComment | None:
    """After an event. None: it is deleted. Raises DeliveryError."""
    try:
        reply = await portal.call("crm.timeline.comment.get", {"id": comment_id})
        return PortalComment.model_validate(reply.result)
    except Bitrix24Refused as error:
        if error.not_found:
            return None
        raise
    except ValidationError as error:
        raise Unreadable("comment", error) from None


async def changes_since(leads: LeadApi, moment: datetime) -> AsyncIterator[PortalLead | BadLead]:
    """Leads changed at ``moment`` or later, newest last; one that is changed meanwhile comes again, as one that can't
    be read may.

    Raises DeliveryError, also of a page of which nothing can be read; who goes on goes on from the last lead that came.
    """
    order, came = {"DATE_MODIFY": "ASC", "ID": "ASC"}, set[int]()
    moment = moment.replace(microsecond=0)
    while True:
        page = await leads.page({">=DATE_MODIFY": as_time(moment)}, order)
        for lead in page:
            if lead.id not in came:
                yield lead
        if len(page) < PAGE:
            return
        last = max((lead.date_modify for lead in page if lead.date_modify is not None), default=None)
        if last is None:
            raise DeliveryUnavailable(NOTHING)
        if last > moment:
            moment, came = last, {lead.id for lead in page if lead.date_modify == last and lead.id}
            continue
        async for lead in _of_second(leads, moment, _last_id(page)):
            yield lead
        moment, came = moment + SECOND, set()


async def _of_second(leads: LeadApi, moment: datetime, lead_id: int) -> AsyncIterator[PortalLead | BadLead]:
    """All of one second after an id: more than a page was changed together."""
    while True:
        wanted = {">=DATE_MODIFY": as_time(moment), "<=DATE_MODIFY": as_time(moment), ">ID": lead_id}
        page = await leads.page(wanted, {"ID": "ASC"})
        for lead in page:
            yield lead
        if len(page) < PAGE:
            return
        lead_id = _last_id(page)


def _last_id(page: list[PortalLead | BadLead]) -> int:
    last = max((lead.id for lead in page if lead.id is not None), default=None)
    if last is None:
        raise DeliveryUnavailable(NOTHING)
    return last


class Reconciliation:
    """Tells of each change since ``since``, then again and again of those since the last; of each state once.

    A lead that can't be read holds up none behind it: it is named, and read alone before each later walk.
    """

    def __init__(self, leads: LeadApi, since: datetime, on_lead: OnLead, unread: Iterable[int] = ()) -> None:
        """``unread``: of an earlier process."""
        self._leads, self._on_lead = leads, on_lead
        self.since = since
        """Of the newest lead that was told of: where a later process may begin."""
        self.unread = dict.fromkeys(unread, "")
        """Leads that can't be read, and why, those that were tried last at the end."""
        self._told: dict[int, PortalLead] = {}

    async def run(self, every_s: float, sleep: Sleep = asyncio.sleep) -> None:
        """Until cancelled; a portal that is away is asked again later."""
        while True:
            wait = every_s
            try:
                await self.walk()
            except DeliveryError as error:
                wait = max(wait, error.retry_after or 0.0)
                log = logger.critical if error.kind == "denied" else logger.warning
                log("bitrix24: its changes can't be read, next in {:.0f} s: {}", wait, shorten(error.message, 200))
            await sleep(wait)

    async def walk(self) -> int:
        """Once. Returns of how many it has told. Raises DeliveryError, and what ``on_lead`` raises."""
        count, begin = await self._read_again(), self.since - OVERLAP
        async for lead in changes_since(self._leads, begin):
            if isinstance(lead, BadLead):
                self._pass_over(lead)
            elif self._told.get(lead.id) != lead:
                await self._on_lead(lead)
                self._told[lead.id] = lead
                count += 1
            if lead.date_modify is not None:  # one odd date must not hide what is changed until then
                self.since = max(self.since, min(lead.date_modify, datetime.now(UTC)))
        # What the next walk can't meet again need not be remembered.
        self._told = {id: lead for id, lead in self._told.items() if lead.date_modify >= self.since - OVERLAP}
        return count

    def _pass_over(self, lead: BadLead) -> None:
        """For now."""
        if self.unread.get(lead.id or 0) == lead.why:
            return
        if lead.id is not None:
            self.unread[lead.id] = lead.why
        named = "one of its leads" if lead.id is None else f"lead {lead.id}"
        logger.error("bitrix24: {} is passed over, {} wait so: {}", named, len(self.unread), lead.why)
        if len(self.unread) > MOST_UNREAD:
            lost = next(iter(self.unread))
            del self.unread[lost]
            logger.error("bitrix24: lead {} is not tried again, more than {} can't be read", lost, MOST_UNREAD)

    async def _read_again(self) -> int:
        """What was passed over, so many as make a batch. Returns how many could be read now."""
        some = list(self.unread)[:PAGE]
        found = await asyncio.gather(*(read_lead(self._leads, id) for id in some), return_exceptions=True)
        count = 0
        for id, lead in zip(some, found, strict=True):
            why = self.unread.pop(id)
            if isinstance(lead, DeliveryDenied | DeliveryRefused | Unreadable):
                self.unread[id] = why
            elif isinstance(lead, BaseException):
                self.unread[id] = why
                raise lead
            elif lead is not None:
                logger.info("bitrix24: lead {} can be read again", id)
                await self._on_lead(lead)
                count += 1
        return count
