"""The watch of a Bitrix24 portal: changes that people make there become records of the aggregates that own the leads.

The portal's webhook sends each change at once but only once; the reconciliation reads what was modified since. Both end
in the same records, and a change that comes twice is folded once (docs/contracts/bitrix24.md#events).
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

from adapters.bitrix24.changes import PortalComment as Written
from adapters.bitrix24.changes import Reconciliation, read_comment, read_lead
from adapters.bitrix24.comments import mark
from adapters.bitrix24.events import EventQueue
from adapters.bitrix24.journal import Journal
from adapters.bitrix24.leads import LeadApi, PortalLead, cents
from adapters.bitrix24.markup import plain
from adapters.bitrix24.origins import owner
from adapters.bitrix24.rest.client import Bitrix24Client
from adapters.bitrix24.settings import WatchSettings
from adapters.bitrix24.webhook import HookEvent, HookName
from schemas.bitrix24 import CardChanged, PortalComment
from schemas.errors import InvalidInput
from schemas.fields import to_micros
from streams.resilience import together

ABONENTS: Final = "domofon.abonent"
LOOK_BACK: Final = timedelta(days=7)
"""Age of the oldest changes that the first reconciliation reads."""
KNOWN_LEADS: Final = 10_000

Send = Callable[[Any, str], Awaitable[None]]
"""Produces a record to a topic; returns when it is acknowledged."""


def card_changed(ext_id: str, lead: PortalLead) -> CardChanged:
    """Return the record of a lead's present fields as plain text; fields that are empty in the portal are cleared."""
    said: dict[str, Any] = {
        "portal_title": plain(lead.title),
        "portal_name": plain(lead.name) or None,
        "portal_phone": lead.phones[0].value if lead.phones else None,
    }
    if "comment" in lead.model_fields_set:
        said["portal_comments"] = plain(lead.comment) or None
    if "opportunity" in lead.model_fields_set:
        said["portal_opportunity"] = cents(lead.opportunity)
    return CardChanged(
        ext_id,
        portal_lead_id=lead.id,
        portal_stage=lead.stage,
        portal_modified_at=to_micros(lead.date_modify),
        unset=tuple(name for name, value in said.items() if value is None),
        **said,
    )


class PortalWatch:
    """The watch of one portal. ``send`` produces a record and returns when it is acknowledged."""

    def __init__(
        self, portal: Bitrix24Client, leads: LeadApi, originator: str, settings: WatchSettings, send: Send, notes: Path
    ) -> None:
        """``notes``: the file that keeps the position of the reconciliation; the journal of events stands beside it."""
        self._portal, self._leads, self._originator, self._send = portal, leads, originator, send
        self._settings, self._notes = settings, notes
        self._told: OrderedDict[int, tuple[str, CardChanged]] = OrderedDict()
        """Topic and last produced record of each of our leads."""
        self.events = EventQueue(Journal(notes.with_suffix(".sqlite")), self._look, self._known)
        for noted in self.events.restore():
            if noted.known is not None:
                values: list[Any] = [tuple(v) if isinstance(v, list) else v for v in noted.known]
                self._told[noted.event.id] = values[0], CardChanged(*values[1:])
        self.take: Final = self.events.take

    async def run(self) -> None:
        """Run until cancelled. Raises what ``send`` raises."""
        walks = Reconciliation(self._leads, self._since(), self._lead, self._unread())
        await together(self.events.run(), walks.run(self._settings.every_s), self._keep(walks))

    def _known(self, event: HookEvent) -> list[Any] | None:
        known = self._told.get(event.id) if event.name == HookName.LEAD_DELETE else None
        return [known[0], *known[1]] if known else None

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
            await self._produce_new(event.id, topic, said._replace(portal_deleted=True))

    async def _lead(self, lead: PortalLead) -> None:
        place = owner(lead.origin) if lead.originator == self._originator else None
        if place is None:
            return
        topic, ext_id = place
        await self._produce_new(lead.id, topic, card_changed(ext_id, lead))

    async def _produce_new(self, lead_id: int, topic: str, said: CardChanged) -> None:
        """Produce a record if more than the time is new: otherwise each of our own updates would come back."""
        before = self._told.get(lead_id)
        self._told[lead_id] = topic, said
        self._told.move_to_end(lead_id)
        if len(self._told) > KNOWN_LEADS:
            self._told.popitem(last=False)
        if before is None or before[1] != said._replace(portal_modified_at=before[1].portal_modified_at):
            await self._produce(said, topic)

    async def _comment(self, comment: Written) -> None:
        """Produce a person's reply to an abonent; our own comments are never sent back."""
        prefix, text = self._settings.reply_prefix, plain(comment.text)
        if mark(comment.text) is not None or not text.startswith(prefix) or comment.entity_type != "lead":
            return
        reply = text.removeprefix(prefix).strip()
        place = await self._place(comment.entity_id) if reply else None
        if place is not None and place[0] == ABONENTS:
            await self._produce(PortalComment(place[1], comment.id, reply), ABONENTS)

    async def _place(self, lead_id: int) -> tuple[str, str] | None:
        """Return topic and ext_id of a lead's owner. The portal is asked only for a lead that was not seen yet: while
        deliveries take all of its rate, a person's reply would wait 2.5 s for that call."""
        if known := self._told.get(lead_id):
            return known[0], known[1].ext_id
        lead = await read_lead(self._leads, lead_id)
        return owner(lead.origin) if lead is not None and lead.originator == self._originator else None

    async def _produce(self, row: Any, topic: str) -> None:
        """Produce a record; one that no topic can hold is skipped, as it would come again after every start."""
        try:
            await self._send(row, topic)
        except InvalidInput as error:
            logger.error("bitrix24: a {} can't be produced: {}: {}", type(row).__name__, error.field, error.expected)

    def _unread(self) -> list[int]:
        try:
            return [int(id) for id in json.loads(self._notes.read_text("utf-8"))["unread"]]
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def _since(self) -> datetime:
        try:
            since = datetime.fromisoformat(json.loads(self._notes.read_text("utf-8"))["since"])
        except (OSError, ValueError, KeyError, TypeError):
            return datetime.now(UTC) - LOOK_BACK
        return since if since.tzinfo else since.replace(tzinfo=UTC)

    async def _keep(self, reconciliation: Reconciliation) -> None:
        """Keep the position where a later process begins; a position that is too early does no harm."""
        kept = None
        while True:
            await asyncio.sleep(self._settings.every_s / 2)
            notes = {"since": reconciliation.since.isoformat(), "unread": list(reconciliation.unread)}
            if notes == kept:
                continue
            beside = self._notes.with_suffix(".new")
            try:
                beside.write_text(json.dumps(notes), "utf-8")
                beside.replace(self._notes)  # a kill during the write leaves the position before
                kept = notes
            except OSError as error:
                logger.warning("bitrix24: the position of the reconciliation can't be kept: {}", error)
