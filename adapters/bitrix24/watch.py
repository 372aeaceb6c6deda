"""What people change in a Bitrix24 portal, into the topics of the aggregates whose leads they are.

The portal's webhook says it at once but only once; the reconciliation looks at what was modified since. Both end in the
same records, and what comes twice is folded once.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

from loguru import logger

from adapters.bitrix24.changes import PortalComment as Written
from adapters.bitrix24.changes import Reconciliation, read_comment, read_lead
from adapters.bitrix24.comments import mark
from adapters.bitrix24.journal import Journal, Noted
from adapters.bitrix24.leads import LeadApi, PortalLead, cents
from adapters.bitrix24.markup import plain
from adapters.bitrix24.origins import owner
from adapters.bitrix24.rest.answers import Unreadable
from adapters.bitrix24.rest.client import Bitrix24Client
from adapters.bitrix24.settings import WatchSettings
from adapters.bitrix24.webhook import HookEvent, HookName
from schemas.bitrix24 import CardChanged, PortalComment
from schemas.errors import DeliveryDenied, DeliveryError, DeliveryRefused, InvalidInput, shorten
from schemas.fields import to_micros
from streams.resilience import backoff, together

ABONENTS: Final = "domofon.abonent"
LOOK_BACK: Final = timedelta(days=7)
"""Where the first reconciliation begins."""
KNOWN_LEADS: Final = 10_000
QUEUE: Final = 10_000
AT_ONCE: Final = 50
"""Events that are looked at together."""
LISTED: Final = frozenset({HookName.LEAD_ADD, HookName.LEAD_UPDATE})
"""What the reconciliation finds, too; comments and deletions are in no list that it walks."""
FIRST_WAIT_S, MOST_WAIT_S = 0.5, 30.0
AGAIN_S: Final = 30.0
"""Between looks at what was denied."""
DENIED_TRIES: Final = 5
"""Of an event that is denied while others are answered."""

Send = Callable[[Any, str], Awaitable[None]]
"""A record to a topic; returns when it is acknowledged."""


class _Denied(NamedTuple):
    event: HookEvent
    tries: int
    """The first, and each before which the portal had answered for another of its kind."""
    answered: int
    """Events of its kind, until the last look at it."""


def card_changed(ext_id: str, lead: PortalLead) -> CardChanged:
    """What a lead says now, in plain words; what the portal shows empty is cleared in the state, too."""
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
    """Of one portal. ``send`` produces a record.

    While the portal is away or limits us, events wait, and none is passed over. One that it denies is put aside, so
    that those behind it go on, and is looked at again and again: a right may be missing for all, as after the webhook
    was revoked, and a person gives it back. Only one that was denied `DENIED_TRIES` times, each after others of its
    kind were answered, is denied alone: it is passed over, counted, and told as an error that names it.
    """

    def __init__(
        self, portal: Bitrix24Client, leads: LeadApi, originator: str, settings: WatchSettings, send: Send, notes: Path
    ) -> None:
        """``notes``: a file that keeps how far the reconciliation came."""
        self._portal, self._leads, self._originator, self._send = portal, leads, originator, send
        self._settings, self._notes = settings, notes
        self._journal = Journal(notes.with_suffix(".sqlite"))
        self._arriving = Counter[tuple[HookName, int]]()
        """Being written to the journal: not to be forgotten there."""
        self._events: dict[tuple[HookName, int], HookEvent] = {}
        """Not looked at yet; a lead that was changed again meanwhile is looked at once."""
        self._denied: dict[tuple[HookName, int], _Denied] = {}
        self._answered: Counter[HookName] = Counter()
        self.passed_over = 0
        """Events that were denied for good."""
        self._news = asyncio.Event()
        self._told: OrderedDict[int, tuple[str, CardChanged]] = OrderedDict()
        """Topic and what was said of each lead of ours."""
        for noted in self._journal.read():
            self._events[noted.event[:2]] = noted.event
            if noted.known is not None:
                values: list[Any] = [tuple(v) if isinstance(v, list) else v for v in noted.known]
                self._told[noted.event.id] = values[0], CardChanged(*values[1:])
        if self._events:
            logger.info("bitrix24: {} events that came before the start are looked at now", len(self._events))
            self._news.set()

    async def take(self, event: HookEvent) -> bool:
        """An event of the webhook, which sends it once, however it is answered: so it is on disk when this returns.
        What the reconciliation finds, too, may take half of the queue only; of the rest, what finds it full is lost.
        False: it could not be kept, and a restart loses it."""
        if event[:2] in self._denied:  # which is looked at again in its turn: sooner would count as one more try
            return True
        listed = event.name in LISTED
        kept = True
        if len(self._events) + len(self._denied) + len(self._arriving) < (QUEUE // 2 if listed else QUEUE):
            kept = await self._keep_event(event)
            self._events[event.name, event.id] = event
            self._news.set()
        elif listed:
            logger.warning("bitrix24: too many events at once, {} {} is left to the reconciliation", *event[:2])
        else:
            mend = "write the comment again" if event.name == HookName.COMMENT_ADD else "`kounter audit` shows it"
            logger.error("bitrix24: too many events at once, {} {} is lost: {}", *event[:2], mend)
        return kept

    async def _keep_event(self, event: HookEvent) -> bool:
        """Whether it is on disk."""
        key = event[:2]
        known = self._told.get(event.id) if event.name == HookName.LEAD_DELETE else None
        self._arriving[key] += 1
        try:
            await self._journal.keep(Noted(event, [known[0], *known[1]] if known else None))
        except sqlite3.Error as error:
            logger.error("bitrix24: {} {} can't be kept on disk, a restart would lose it: {}", *key, error)
            return False
        finally:
            self._arriving[key] -= 1
            self._arriving += Counter()  # drops what is at zero
        return True

    async def _forget(self, events: Iterable[HookEvent]) -> None:
        """Those that are done, unless the same came again meanwhile."""
        keys = {event[:2] for event in events}
        try:
            await self._journal.forget(keys - self._events.keys() - self._denied.keys() - self._arriving.keys())
        except sqlite3.Error as error:  # they are looked at once more after a restart, which does no harm
            logger.warning("bitrix24: events that are done stay on disk: {}", error)

    async def run(self) -> None:
        """Until cancelled. Raises what ``send`` raises."""
        walks = Reconciliation(self._leads, self._since(), self._lead, self._unread())
        await together(self._follow(), self._look_again(), walks.run(self._settings.every_s), self._keep(walks))

    async def _follow(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._events:
                taken = list(self._events)[:AT_ONCE]  # calls that are made together go as one batch
                events = [self._events.pop(key) for key in taken]
                await asyncio.gather(*(self._until_seen(event) for event in events))
                await self._forget(events)

    async def _look_again(self) -> None:
        """At what was denied; while nothing is answered, at no more than makes one batch."""
        answered = 0
        while True:
            await asyncio.sleep(AGAIN_S)
            keys = list(self._denied)
            while keys:
                some, keys = keys[:AT_ONCE], keys[AT_ONCE:]
                events = [self._denied[key].event for key in some if key in self._denied]
                await asyncio.gather(*(self._until_seen(event) for event in events))
                await self._forget(events)
                if self._answered.total() == answered:
                    break
            answered = self._answered.total()

    async def _until_seen(self, event: HookEvent) -> None:
        """Or until it is clear that it will not be now."""
        failed = 0
        while True:
            try:
                await self._look(event)
            except DeliveryRefused as error:  # the same again, and what came after it would wait
                logger.error("bitrix24: {} {} is passed over: {}", event.name, event.id, shorten(error.message, 200))
            except (DeliveryDenied, Unreadable) as error:
                self._put_aside(event, error)
                return
            except DeliveryError as error:
                wait = max(error.retry_after or 0.0, backoff(failed, FIRST_WAIT_S, MOST_WAIT_S))
                failed += 1
                logger.warning("bitrix24: {} waits {:.1f} s: {}", event.name, wait, shorten(error.message, 200))
                await asyncio.sleep(wait)
                continue
            else:
                self._answered[event.name] += 1
            self._denied.pop((event.name, event.id), None)
            return

    def _put_aside(self, event: HookEvent, error: DeliveryDenied | Unreadable) -> None:
        """Behind all that were denied before, or away with it (see the class)."""
        key, answered, said = event[:2], self._answered[event.name], shorten(error.message, 200)
        before = self._denied.pop(key, None)
        tries = 1 if before is None else before.tries + (answered > before.answered)
        if tries >= DENIED_TRIES:
            self.passed_over += 1
            away = (
                "bitrix24: {} {} is passed over, the portal does not let us read it, but others: {}. "
                "Let the webhook's user read it, then write or save it again. So far passed over: {}"
            )
            logger.error(away, *key, said, self.passed_over)
            return
        self._denied[key] = _Denied(event, tries, answered)
        if before is None:
            logger.warning("bitrix24: {} {} can't be read yet, {} wait so: {}", *key, len(self._denied), said)

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
        await self._tell(lead.id, topic, card_changed(ext_id, lead))

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
        prefix, text = self._settings.reply_prefix, plain(comment.text)
        if mark(comment.text) is not None or not text.startswith(prefix) or comment.entity_type != "lead":
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

    def _unread(self) -> list[int]:
        try:
            return [int(id) for id in json.loads(self._notes.read_text("utf-8"))["unread"]]
        except (OSError, ValueError, KeyError, TypeError):
            return []

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
            notes = {"since": reconciliation.since.isoformat(), "unread": list(reconciliation.unread)}
            if notes != kept:
                self._notes.parent.mkdir(parents=True, exist_ok=True)
                self._notes.write_text(json.dumps(notes), "utf-8")
                kept = notes
