"""Changes that people make in a portal: an entity is read again after an event, and a walk reads all recent changes.

Events are sent once and may be lost, so only a regular walk misses nothing (docs/contracts/bitrix24.md#events).
Deleted leads are in no list: `audit` finds those.
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
"""Time that each walk reads again: a lead that was being saved during the last one has an older time."""
SECOND: Final = timedelta(seconds=1)
"""The portal keeps times to the second."""

MOST_UNREAD: Final = 1_000
"""Skipped leads that are tried again."""
KEPT_LEADS: Final = 100
"""Least number of leads that are remembered before old ones are removed."""
NOTHING: Final = "nothing of a whole page of leads can be read"

OnLead = Callable[[PortalLead], Awaitable[None]]
Sleep = Callable[[float], Awaitable[None]]


class PortalComment(BaseModel):
    """A comment in a timeline. Our own end with the mark that `comments.mark` reads."""

    model_config = ConfigDict(frozen=True)
    id: int = Field(alias="ID", gt=0)
    entity_id: int = Field(alias="ENTITY_ID")
    entity_type: str = Field(alias="ENTITY_TYPE")
    text: Text = Field(alias="COMMENT")
    """The text with its markup."""


async def read_lead(leads: LeadApi, lead_id: int) -> PortalLead | None:
    """Return the lead as it is now, which may be newer than the event; None if it is deleted. Raises DeliveryError."""
    try:
        return await leads.get(lead_id)
    except Bitrix24Refused as error:
        if error.not_found:
            return None
        raise


async def read_comment(portal: Bitrix24Client, comment_id: int) -> PortalComment | None:
    """Return the comment as it is now; None if it is deleted. Raises DeliveryError."""
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
    """Yield the leads that were changed at ``moment`` or later, newest last. A lead that is changed meanwhile comes
    again, and an unreadable one may.

    Raises DeliveryError, also if nothing of a page can be read; a later walk begins at the last lead that came.
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
    """Yield the leads of one second above an id, as more than a page was changed together."""
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
    """Passes each change since ``since`` to ``on_lead``, then those since the last walk, each state once.

    An unreadable lead does not hold up those behind it: it is logged, and read alone before each later walk.
    """

    def __init__(self, leads: LeadApi, since: datetime, on_lead: OnLead, unread: Iterable[int] = ()) -> None:
        """``unread``: ids of the leads that an earlier process could not read."""
        self._leads, self._on_lead = leads, on_lead
        self.since = since
        """Time of the newest lead that was passed on: where a later process may begin."""
        self.unread = dict.fromkeys(unread, "")
        """Reasons of the unreadable leads by id, the last tried at the end."""
        self._told: dict[int, PortalLead] = {}
        """Leads that were passed on and that the next walk may meet again."""
        self._room = KEPT_LEADS

    async def run(self, every_s: float, sleep: Sleep = asyncio.sleep) -> None:
        """Walk every ``every_s`` seconds until cancelled; a portal that is away is asked again later.

        Raises what ``on_lead`` raises, DeliveryError aside.
        """
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
        """Walk once, and return the number of leads that were passed on.

        Raises DeliveryError, and what ``on_lead`` raises.
        """
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
            if len(self._told) > self._room:
                self._forget()
        self._forget()
        return count

    def _forget(self) -> None:
        """Forget the leads that neither this walk nor the next can meet in the same state."""
        self._told = {id: lead for id, lead in self._told.items() if lead.date_modify >= self.since - OVERLAP}
        self._room = max(KEPT_LEADS, 2 * len(self._told))

    def _pass_over(self, lead: BadLead) -> None:
        """Skip an unreadable lead until the next walk."""
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
        """Read skipped leads again, as many as make a batch. Returns the number of those that could be read."""
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
