"""A talk between an abonent and a person at the company, over the operator's twin, Kounter and the CRM's twin."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import httpx
from rich.console import Console

from adapters.rosdomofon.connector import ROSDOMOFON
from kounter.process.start import start_system
from kounter.process.supervisor import Services

PHONE: Final = 79990000015
ASKED: Final = "Не открывается дверь в подъезд"
ANSWERED: Final = "Мастер будет сегодня в 15:00"
PATIENCE_S: Final = 25.0


async def talk(console: Console, services: Services, prefix: str) -> bool:
    """Run the talk, and print each step where it was seen. Returns False if a message did not arrive."""
    await asyncio.to_thread(start_system, services, ROSDOMOFON, workers=1)
    operator, portal = services.run.get("twin-rosdomofon"), services.run.get("twin-bitrix24")
    assert operator is not None
    assert portal is not None
    console.print("\n[bold]A talk[/]   (kounter rosdomofon say, kounter source bitrix24)\n")
    async with (
        httpx.AsyncClient(base_url=operator.address, trust_env=False, timeout=10) as intercom,
        httpx.AsyncClient(base_url=portal.address, trust_env=False, timeout=10) as crm,
    ):
        said = await intercom.post("/_twin/say", json={"phone": PHONE, "text": ASKED})
        abonent = said.raise_for_status().json()["abonent_id"]
        console.print(f"  abonent {abonent}, in the app     {ASKED}")

        async def heard(text: str) -> Any:
            got = (await intercom.get("/_twin/messages")).json()
            return text in str(got)

        async def comments() -> Any:
            lead = await _lead(crm, f"abonent:{abonent}")
            return lead and [c["COMMENT"] for c in await _ask(crm, "crm.timeline.comment.list", _of(lead))]

        if not (seen := await _until(comments)):
            return False
        console.print(f"  person, in the lead's timeline  {seen[0].splitlines()[0]}")
        lead = await _lead(crm, f"abonent:{abonent}")
        fields = {"ENTITY_ID": lead, "ENTITY_TYPE": "lead", "COMMENT": f"{prefix} {ANSWERED}"}
        await _ask(crm, "crm.timeline.comment.add", {"fields": fields})
        console.print(f"  person writes                   {prefix} {ANSWERED}")
        if not await _until(lambda: heard(ANSWERED)):
            return False
        console.print(f"  abonent {abonent}, in the app     {ANSWERED}")

        async def told() -> Any:
            return next((c for c in await comments() or () if c.startswith("Отправлено")), None)

        if not (outcome := await _until(told)):
            return False
        console.print(f"  person, in the lead's timeline  {outcome.splitlines()[0]}")
    return True


async def _lead(crm: httpx.AsyncClient, origin: str) -> int | None:
    rows = await _ask(crm, "crm.lead.list", {"filter": {"=ORIGIN_ID": origin}, "select": ["ID"], "start": -1})
    return int(rows[0]["ID"]) if rows else None


def _of(lead: int) -> dict[str, Any]:
    return {"filter": {"ENTITY_ID": lead, "ENTITY_TYPE": "lead"}, "select": ["ID", "COMMENT"]}


async def _ask(crm: httpx.AsyncClient, method: str, params: dict[str, Any]) -> Any:
    return (await crm.post(method, json=params)).raise_for_status().json()["result"]


async def _until(look: Callable[[], Awaitable[Any]]) -> Any:
    """Returns the first result of ``look`` within the timeout, None if there is none."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := await look():
            return found
        await asyncio.sleep(0.2)
    return None
