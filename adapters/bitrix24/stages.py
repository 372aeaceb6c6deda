"""The stages of a portal's leads: ``crm.status.list``, cached for some minutes (docs/contracts/bitrix24.md#stages)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from adapters.bitrix24.rest.answers import Bitrix24Refused, Unreadable, rows
from adapters.bitrix24.rest.client import Bitrix24Client
from schemas.errors import DeliveryUnavailable, shorten

KEPT_S: Final = 600.0
"""Seconds for which the stages are cached."""
ANEW_S: Final = 10.0
"""Least seconds between two reads: an unknown stage may have been created just now."""
LIST, ENTITY = "crm.status.list", "STATUS"
WITH_LEADS, SIMPLE = 1, 2
"""Values of ``crm.settings.mode.get``. A simple CRM turns each new lead into a deal, with the stage CONVERTED."""


class Stage(NamedTuple):
    """A stage; ``semantics``: ``P`` in process, ``S`` won, ``F`` lost."""

    id: str
    name: str
    semantics: str


class Stages:
    """The stages of one portal. Each method raises DeliveryError if they can't be read. Concurrent callers share one
    read: else each would wait for the timeouts of all before it."""

    def __init__(self, portal: Bitrix24Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._portal, self._clock = portal, clock
        self._stages: dict[str, Stage] = {}
        self._simple = False
        self._read_at: float | None = None
        self._reading: asyncio.Task[None] | None = None

    async def all(self) -> Mapping[str, Stage]:
        """Return the stages by STATUS_ID, in the portal's order. Raises DeliveryError."""
        await self._fresh(KEPT_S)
        return self._stages

    async def simple(self) -> bool:
        """Return whether the portal is a simple CRM, which sets the stages itself. Raises DeliveryError."""
        await self._fresh(KEPT_S)
        return self._simple

    async def check(self, stage: str) -> None:
        """Raises Bitrix24Refused for a stage that the portal does not have: it would accept it, and show the lead in no
        column. Raises DeliveryError."""
        if stage not in await self.all():
            await self._fresh(ANEW_S)
        if stage not in self._stages:
            raise Bitrix24Refused(f"stage {shorten(stage)} is not one of the portal's: {', '.join(self._stages)}")

    async def _fresh(self, most_s: float) -> None:
        if self._read_at is not None and self._clock() - self._read_at < most_s:
            return
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        await asyncio.shield(self._reading)  # a caller that leaves does not end the read of the others

    async def _read(self) -> None:
        try:
            statuses, mode = await asyncio.gather(
                self._portal.call(LIST, {"filter": {"ENTITY_ID": ENTITY}, "order": {"SORT": "ASC"}}),
                self._portal.call("crm.settings.mode.get", {}),
            )
            if str(mode.result) not in (str(WITH_LEADS), str(SIMPLE)):
                raise Unreadable("crm.settings.mode.get", f"neither {WITH_LEADS} nor {SIMPLE}")
            if statuses.next is not None:  # the method has no pages: a stage of another page would count as unknown
                raise Unreadable(LIST, "it has a further page")
            self._stages = {stage.id: stage for stage in _stages(statuses.result)}
            self._simple = str(mode.result) == str(SIMPLE)
            self._read_at = self._clock()
        finally:
            self._reading = None


def _stages(result: Any) -> list[Stage]:
    """Return the stages among the listed statuses. Raises DeliveryError for an unreadable row: it may be any stage."""
    listed = [row for row in rows(LIST, result) if row.get("ENTITY_ID", ENTITY) == ENTITY]
    if not listed:
        raise DeliveryUnavailable("crm.status.list: no stage at all")
    if not all(isinstance(row.get("STATUS_ID"), str) and row["STATUS_ID"] for row in listed):
        raise Unreadable(LIST, "a row without STATUS_ID")
    return [Stage(row["STATUS_ID"], str(row.get("NAME", "")), str(row.get("SEMANTICS") or "P")) for row in listed]
