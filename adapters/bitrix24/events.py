"""The queue of a portal's webhook events: kept on disk until the entity of each was read
(docs/contracts/bitrix24.md#events)."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, NamedTuple

from loguru import logger

from adapters.bitrix24.journal import Journal, Key, Noted
from adapters.bitrix24.rest.answers import Unreadable
from adapters.bitrix24.webhook import HookEvent, HookName
from schemas.errors import DeliveryDenied, DeliveryError, DeliveryRefused, shorten
from streams.resilience import backoff, together

QUEUE: Final = 10_000
AT_ONCE: Final = 50
"""Events that are processed together."""
LISTED: Final = frozenset({HookName.LEAD_ADD, HookName.LEAD_UPDATE})
"""Events that the reconciliation finds, too; comments and deletions are in no list that it walks."""
FIRST_WAIT_S, MOST_WAIT_S = 0.5, 30.0
AGAIN_S: Final = 30.0
"""Seconds between tries of denied events."""
DENIED_TRIES: Final = 5
"""Tries of an event that is denied while others are answered."""

Look = Callable[[HookEvent], Awaitable[None]]
"""Reads the entity of an event and passes on what it finds. Raises DeliveryError."""
Known = Callable[[HookEvent], list[Any] | None]
"""Returns the known state of a deleted lead, which the portal can't be asked for afterwards."""


class _Denied(NamedTuple):
    event: HookEvent
    tries: int
    """The first try, and each before which the portal had answered another event of this kind."""
    answered: int
    """Number of answered events of this kind at the last try."""


class EventQueue:
    """Events that were accepted and are not processed yet.

    While the portal is away or limits us, events wait, and none is dropped. A denied event is put aside, so that those
    behind it go on, and is tried again and again: a right may be missing for all, as after the webhook was revoked,
    until a person gives it back. An event that was denied `DENIED_TRIES` times, each time after others of its kind
    were answered, is denied alone: it is dropped, counted, and named in an error of the log.
    """

    def __init__(self, journal: Journal, look: Look, known: Known) -> None:
        self._journal, self._look, self._known = journal, look, known
        self._arriving = Counter[Key]()
        """Events that are being written to the journal, so they must stay there."""
        self._events: dict[Key, HookEvent] = {}
        """Events that wait; a lead that was changed again meanwhile is read once."""
        self._denied: dict[Key, _Denied] = {}
        self._answered: Counter[HookName] = Counter()
        self.passed_over = 0
        """Number of events that were dropped because they were denied for good."""
        self._news = asyncio.Event()

    def restore(self) -> list[Noted]:
        """Queue the events that the journal has kept, and return them."""
        kept = self._journal.read()
        for noted in kept:
            self._events[noted.event[:2]] = noted.event
        if kept:
            logger.info("bitrix24: {} events that came before the start are processed now", len(kept))
            self._news.set()
        return kept

    async def take(self, event: HookEvent) -> bool:
        """Queue an event, which is on disk when this returns: the webhook sends it once, whatever the answer is.

        Events that the reconciliation finds, too, may take half of the queue only; others are lost if it is full.
        Returns False if the event is lost, or if it could not be written and a restart loses it.
        """
        key = event[:2]
        if key in self._denied:  # it is tried again in its turn: sooner would count as another try
            return True
        listed = event.name in LISTED
        used = len(self._events) + len(self._denied) + len(self._arriving)
        if key in self._events or used < (QUEUE // 2 if listed else QUEUE):
            kept = await self._keep(event)
            self._events[key] = event
            self._news.set()
            return kept
        if listed:
            logger.warning("bitrix24: too many events at once, {} {} is left to the reconciliation", *key)
            return True
        fix = "write the comment again" if event.name == HookName.COMMENT_ADD else "`kounter audit` shows it"
        logger.error("bitrix24: too many events at once, {} {} is lost: {}", *key, fix)
        return False

    async def run(self) -> None:
        """Process events until cancelled. Raises what ``look`` raises, DeliveryError aside."""
        await together(self._follow(), self._try_denied())

    async def _keep(self, event: HookEvent) -> bool:
        """Return whether the event is on disk."""
        key = event[:2]
        self._arriving[key] += 1
        try:
            await self._journal.keep(Noted(event, self._known(event)))
        except sqlite3.Error as error:
            logger.error("bitrix24: {} {} can't be kept on disk, a restart would lose it: {}", *key, error)
            return False
        finally:
            self._arriving[key] -= 1
            self._arriving += Counter()  # drops what is at zero
        return True

    async def _forget(self, events: Iterable[HookEvent]) -> None:
        """Remove processed events from the journal, unless the same came again meanwhile."""
        keys = {event[:2] for event in events}
        try:
            await self._journal.forget(keys - self._events.keys() - self._denied.keys() - self._arriving.keys())
        except sqlite3.Error as error:  # they are processed again after a restart, which does no harm
            logger.warning("bitrix24: processed events stay on disk: {}", error)

    async def _follow(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._events:
                taken = list(self._events)[:AT_ONCE]  # calls that are made together go as one batch
                events = [self._events.pop(key) for key in taken]
                await asyncio.gather(*(self._until_final(event) for event in events))
                await self._forget(events)

    async def _try_denied(self) -> None:
        """Try the denied events again; while none is answered, no more than one batch of them."""
        answered = 0
        while True:
            await asyncio.sleep(AGAIN_S)
            keys = list(self._denied)
            while keys:
                some, keys = keys[:AT_ONCE], keys[AT_ONCE:]
                events = [self._denied[key].event for key in some if key in self._denied]
                await asyncio.gather(*(self._until_final(event) for event in events))
                await self._forget(events)
                if self._answered.total() == answered:
                    break
            answered = self._answered.total()

    async def _until_final(self, event: HookEvent) -> None:
        """Try an event until it is answered, refused or denied."""
        failed = 0
        while True:
            try:
                await self._look(event)
            except DeliveryRefused as error:  # it would be refused again, and those behind it would wait
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
        """Queue an event behind all that were denied before, or drop it (see the class)."""
        key, answered, said = event[:2], self._answered[event.name], shorten(error.message, 200)
        before = self._denied.pop(key, None)
        tries = 1 if before is None else before.tries + (answered > before.answered)
        if tries >= DENIED_TRIES:
            self.passed_over += 1
            dropped = (
                "bitrix24: {} {} is passed over, the portal does not let us read it, but others: {}. "
                "Let the webhook's user read it, then write or save it again. So far passed over: {}"
            )
            logger.error(dropped, *key, said, self.passed_over)
            return
        self._denied[key] = _Denied(event, tries, answered)
        if before is None:
            logger.warning("bitrix24: {} {} can't be read yet, {} wait so: {}", *key, len(self._denied), said)
