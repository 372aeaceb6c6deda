"""Card commands, and the leads that a Bitrix24 twin has of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from adapters.bitrix24.cards import Bitrix24Cards
from adapters.bitrix24.twin.server import Bitrix24Twin
from schemas.bitrix24 import CardAction, CardCommand
from schemas.errors import DeliveryError
from tests.support.systems.bitrix24 import ORIGINATOR

FULL: dict[str, Any] = {
    "title": "Lead 7",
    "name": "Анна Петрова",
    "phone": "+7 999 000-11-22",
    "stage": "NEW",
    "comment": "status: OPEN",
    "opportunity": Decimal("1500000.5"),
    "source": "brusnika",
}

OURS = {"ORIGINATOR_ID": ORIGINATOR, "ORIGIN_ID": "estate.lead:L-7"}


def command(action: CardAction, ext_id: str = "L-7", **fields: Any) -> CardCommand:
    return CardCommand(ext_id=ext_id, command_id="c", aggregate="estate.lead", action=action, **fields)


def leads(twin: Bitrix24Twin) -> list[dict[str, Any]]:
    """What the portal has, phones as texts."""
    found = twin.portal.leads.find({}, {}, 0).docs
    return [doc | {"PHONE": phones(twin, int(doc["ID"]))} for doc in found]


def phones(twin: Bitrix24Twin, lead_id: int) -> list[str]:
    return [one["VALUE"] for one in twin.portal.leads.multifields(lead_id).get("PHONE", [])]


async def until_done(cards: Bitrix24Cards, card: CardCommand) -> None:
    """As a delivery does it, without its waits."""
    uncertain = False
    for attempt in range(1, 20):
        try:
            await cards.deliver(card, attempt, uncertain)
            return
        except DeliveryError as error:
            uncertain |= error.kind == "unknown"
    raise AssertionError("never delivered")
