"""What people change in a Bitrix24 portal, into the topics of the aggregates whose leads they are.

The portal's webhook says it at once but only once; the reconciliation looks at what was modified since. Both end in the
same records, and what comes twice is folded once.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from loguru import logger
from pydantic import BaseModel, Field

from adapters.bitrix24.answers import Unreadable
from adapters.bitrix24.changes import PortalComment as Written
from adapters.bitrix24.changes import Reconciliation, read_comment, read_lead
from adapters.bitrix24.client import Bitrix24Client
from adapters.bitrix24.comments import mark
from adapters.bitrix24.hooks import Bitrix24HookSettings, HookEvent, HookName
from adapters.bitrix24.leads import LeadApi, PortalLead
from kounter.together import together
from schemas.errors import DeliveryError, DeliveryRefused, InvalidInput, shorten
from schemas.fields import to_micros
from schemas.portal import CardChanged, PortalComment
from streams.backoff import growing
from streams.portal import owner

ABONENTS: Final = "domofon.abonent"
LOOK_BACK: Final = timedelta(days=7)
"""Where the first reconciliation begins."""
KNOWN_LEADS: Final = 10_000
QUEUE: Final = 10_000
AT_ONCE: Final = 50
"""Events that are looked at together."""
FIRST_WAIT_S, MOST_WAIT_S = 0.5, 30.0

Send = Callable[[Any, str], Awaitable[None]]
"""A record to a topic; returns when it is acknowledged."""


class WatchSettings(BaseModel):
    """How the portal is watched."""

    listen: str = "127.0.0.1:7190"
    """``host:port`` for the portal's outgoing webhook; beyond loopback its token must be set."""
    every_s: float = Field(default=60.0, ge=1)
    """Between reconciliations."""
    reply_prefix: str = Field(default="//", min_length=1, max_length=20)
    """A person's comment that begins so is sent to the abonent whose lead it is, without it."""
    hook: Bitrix24HookSettings = Bitrix24HookSettings()


class PortalWatch:
    """Of one portal. ``send`` produces a record."""

    def __init__(
        self, portal: Bitrix24Client, leads: LeadApi, originator: str, settings: WatchSettings, send: Send, notes: Path
    ) -> None:
        """``notes``: a file that keeps how far the reconciliation came."""
        self._portal, self._leads, self._originator, self._send = portal, leads, originator, send
        self._settings, self._notes = settings, notes
        self._events: dict[tuple[HookName, int], HookEvent] = {}
        """Not looked at yet; a lead that was changed again meanwhile is looked at once."""
        self._news = asyncio.Event()
        self._told: OrderedDict[int, tuple[str, CardChanged]] = OrderedDict()
        """Topic and what was said of each lead of ours."""

    async def take(self, event: HookEvent) -> None:
        """An event of the webhook. What finds the queue full is found by the reconciliation."""
        if len(self._events) >= QUEUE:
            logger.warning("bitrix24: too many events at once, {} {} is left to the reconciliation", *event[:2])
            return
        self._events[event.name, event.id] = event
        self._news.set()

    async def run(self) -> None:
        """Until cancelled. Raises what ``send`` raises."""
        reconciliation = Reconciliation(self._leads, self._since(), self._lead)
        await together(self._follow(), reconciliation.run(self._settings.every_s), self._keep(reconciliation))

    async def _follow(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._events:
                taken = list(self._events)[:AT_ONCE]  # calls that are made together go as one batch
                events = [self._events.pop(key) for key in taken]
                await asyncio.gather(*(self._until_seen(event) for event in events))

    async def _until_seen(self, event: HookEvent) -> None:
        failed = 0
        while True:
            try:
                await self._look(event)
                return
            except (DeliveryRefused, Unreadable) as error:  # the same again, and what came after it would wait
                logger.error("bitrix24: {} {} is passed over: {}", event.name, event.id, shorten(error.message, 200))
                return
            except DeliveryError as error:
                wait = max(error.retry_after or 0.0, growing(failed, FIRST_WAIT_S, MOST_WAIT_S))
                failed += 1
                logger.warning("bitrix24: {} waits {:.1f} s: {}", event.name, wait, shorten(error.message, 200))
                await asyncio.sleep(wait)

    async def _look(self, event: HookEvent) -> None:
        if event.name == HookName.COMMENT_ADD:
            if (comment := await read_comment(self._portal, event.id)) is not None:
                await self._comment(comment)
            return
        lead = None if event.name == HookName.LEAD_DELETE else await read_lead(self._leads, event.id)
        if lead is not None:
            await self._lead(lead)
        elif known := self._told.get(event.id):
            topic, said = known
            await self._tell(event.id, topic, said._replace(portal_deleted=True))

    async def _lead(self, lead: PortalLead) -> None:
        place = owner(lead.origin) if lead.originator == self._originator else None
        if place is None:
            return
        topic, ext_id = place
        phone = lead.phones[0].value if lead.phones else None
        at = to_micros(lead.date_modify)
        said = CardChanged(ext_id, lead.id, lead.stage, lead.title, lead.name or None, phone, at)
        await self._tell(lead.id, topic, said)

    async def _tell(self, lead_id: int, topic: str, said: CardChanged) -> None:
        """Unless nothing is new but the time: each of our own updates would be said again."""
        before = self._told.get(lead_id)
        self._told[lead_id] = topic, said
        self._told.move_to_end(lead_id)
        if len(self._told) > KNOWN_LEADS:
            self._told.popitem(last=False)
        if before is None or before[1] != said._replace(portal_modified_at=before[1].portal_modified_at):
            await self._say(said, topic)

    async def _comment(self, comment: Written) -> None:
        """A person's words for an abonent; our own comments are never sent back."""
        prefix, text = self._settings.reply_prefix, comment.text.strip()
        if mark(text) is not None or not text.startswith(prefix) or comment.entity_type != "lead":
            return
        words = text.removeprefix(prefix).strip()
        place = await self._place(comment.entity_id) if words else None
        if place is not None and place[0] == ABONENTS:
            await self._say(PortalComment(place[1], comment.id, words), ABONENTS)

    async def _place(self, lead_id: int) -> tuple[str, str] | None:
        """Topic and ext_id of whose lead it is. The portal is asked only of one that was not seen yet: while deliveries
        take all of its rate, a person's words would wait 2.5 s for that call."""
        if known := self._told.get(lead_id):
            return known[0], known[1].ext_id
        lead = await read_lead(self._leads, lead_id)
        return owner(lead.origin) if lead is not None and lead.originator == self._originator else None

    async def _say(self, row: Any, topic: str) -> None:
        """What no record can hold is passed over: it would come again after every start, and end it."""
        try:
            await self._send(row, topic)
        except InvalidInput as error:
            logger.error("bitrix24: a {} can't be told: {}: {}", type(row).__name__, error.field, error.expected)

    def _since(self) -> datetime:
        try:
            return datetime.fromisoformat(json.loads(self._notes.read_text("utf-8"))["since"])
        except (OSError, ValueError, KeyError, TypeError):
            return datetime.now(UTC) - LOOK_BACK

    async def _keep(self, reconciliation: Reconciliation) -> None:
        """Where a later process begins; that it begins too early does no harm."""
        kept = None
        while True:
            await asyncio.sleep(self._settings.every_s / 2)
            if (since := reconciliation.since.isoformat()) != kept:
                self._notes.parent.mkdir(parents=True, exist_ok=True)
                self._notes.write_text(json.dumps({"since": since}), "utf-8")
                kept = since
