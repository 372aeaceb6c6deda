"""The portal's own words for where a lead stands: ``crm.status.list``, kept for a while
(docs/contracts/bitrix24.md#stages)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from adapters.bitrix24.rest.answers import Bitrix24Refused, Unreadable, rows
from adapters.bitrix24.rest.client import Bitrix24Client
from schemas.errors import DeliveryUnavailable, shorten

KEPT_S: Final = 600.0
ANEW_S: Final = 10.0
"""A stage that is not known may have been made just now: ask again, but not oftener than this."""
LIST, ENTITY = "crm.status.list", "STATUS"
WITH_LEADS, SIMPLE = 1, 2
"""Of ``crm.settings.mode.get``. A simple CRM turns each new lead into a deal at once, and its stage is CONVERTED."""


class Stage(NamedTuple):
    """``semantics``: ``P`` in process, ``S`` won, ``F`` lost."""

    id: str
    name: str
    semantics: str


class Stages:
    """Of one portal. Each method raises DeliveryError if they can't be read; all who ask meanwhile share one reading,
    or a portal that hangs would keep each waiting for its own patience and that of all before it."""

    def __init__(self, portal: Bitrix24Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._portal, self._clock = portal, clock
        self._stages: dict[str, Stage] = {}
        self._simple = False
        self._read_at: float | None = None
        self._reading: asyncio.Task[None] | None = None

    async def all(self) -> Mapping[str, Stage]:
        """By their STATUS_ID, in the portal's order."""
        await self._fresh(KEPT_S)
        return self._stages

    async def simple(self) -> bool:
        """Whether the portal works without leads: then a lead's stage is the portal's affair, not ours."""
        await self._fresh(KEPT_S)
        return self._simple

    async def check(self, stage: str) -> None:
        """Raises Bitrix24Refused for a stage that the portal has not; it would take it, and show the lead nowhere."""
        if stage not in await self.all():
            await self._fresh(ANEW_S)
        if stage not in self._stages:
            raise Bitrix24Refused(f"stage {shorten(stage)} is none of the portal's: {', '.join(self._stages)}")

    async def _fresh(self, most_s: float) -> None:
        if self._read_at is not None and self._clock() - self._read_at < most_s:
            return
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        await asyncio.shield(self._reading)  # who gives up leaves it to the others, and to who asks next

    async def _read(self) -> None:
        try:
            statuses, mode = await asyncio.gather(
                self._portal.call(LIST, {"filter": {"ENTITY_ID": ENTITY}, "order": {"SORT": "ASC"}}),
                self._portal.call("crm.settings.mode.get", {}),
            )
            if str(mode.result) not in (str(WITH_LEADS), str(SIMPLE)):
                raise Unreadable("crm.settings.mode.get", f"neither {WITH_LEADS} nor {SIMPLE}")
            if statuses.next is not None:  # it has no pages: a stage of a further one would count as none
                raise Unreadable(LIST, "it goes on")
            self._stages = {stage.id: stage for stage in _stages(statuses.result)}
            self._simple = str(mode.result) == str(SIMPLE)
            self._read_at = self._clock()
        finally:
            self._reading = None


def _stages(result: Any) -> list[Stage]:
    """All of them, whatever else the portal lists. A row that can't be read may be the stage that is asked for."""
    listed = [row for row in rows(LIST, result) if row.get("ENTITY_ID", ENTITY) == ENTITY]
    if not listed:
        raise DeliveryUnavailable("crm.status.list: no stage at all")
    if not all(isinstance(row.get("STATUS_ID"), str) and row["STATUS_ID"] for row in listed):
        raise Unreadable(LIST, "a row without STATUS_ID")
    return [Stage(row["STATUS_ID"], str(row.get("NAME", "")), str(row.get("SEMANTICS") or "P")) for row in listed]
