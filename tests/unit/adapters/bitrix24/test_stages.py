"""The portal's stages: read once for all who wait, whatever comes of it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from adapters.bitrix24.rest.answers import Bitrix24Refused, Reply
from adapters.bitrix24.rest.client import Bitrix24Client
from adapters.bitrix24.stages import Stages
from schemas.errors import DeliveryUnavailable

ROWS = [{"STATUS_ID": "NEW", "NAME": "Новый"}, {"STATUS_ID": "UC_1", "NAME": "Своя", "SEMANTICS": "S"}]


class Portal:
    """``hangs`` for so many seconds, then fails, as one does that keeps us waiting until our patience ends."""

    hangs = 0.0
    asked = 0

    async def call(self, method: str, params: Any) -> Reply:
        self.asked += method == "crm.status.list"
        if self.hangs:
            await asyncio.sleep(self.hangs)
            raise DeliveryUnavailable(f"{method}: no answer (ReadTimeout)")
        return Reply(ROWS if method == "crm.status.list" else 1, None, None)


def stages_of(portal: Portal) -> Stages:
    return Stages(cast(Bitrix24Client, portal))


async def test_all_who_wait_for_a_portal_that_hangs_wait_once() -> None:
    portal = Portal()
    portal.hangs = 0.2
    stages = stages_of(portal)
    outcomes = await asyncio.gather(*(stages.all() for _ in range(8)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [DeliveryUnavailable] * 8
    assert portal.asked == 1
    portal.hangs = 0
    assert list(await stages.all()) == ["NEW", "UC_1"], "asked anew"


async def test_who_gives_up_takes_the_answer_from_nobody() -> None:
    portal = Portal()
    stages = stages_of(portal)
    first, second = asyncio.create_task(stages.all()), asyncio.create_task(stages.simple())
    await asyncio.sleep(0)
    first.cancel()
    assert await asyncio.wait_for(second, 60) is False
    assert portal.asked == 1
    with pytest.raises(Bitrix24Refused, match="not one of the portal's: NEW, UC_1"):
        await stages.check("NOWHERE")
