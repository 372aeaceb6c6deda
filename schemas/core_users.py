"""Messages of another Core service in Nest's envelope, and the answers to them. Source:
docs/contracts/core-users.md#messages."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from schemas.bitrix24 import CardAction, CardOutcome, CardReceipt
from schemas.fields import ExtId, Int, Personal, Text, Texts
from schemas.record import also_on, namespace

record = namespace("nest")

Private = Annotated[Text, Personal()]


@record("crm.core-user", key="ext_id")
class CardAsked(NamedTuple):
    """A user of an outside Core service, and what is asked for its card."""

    ext_id: ExtId
    ask_id: Text | None = None
    """Derived from the message's place on Kafka, so that a repeat is recognizable."""
    action: CardAction | None = None
    full_name: Private | None = None
    phone: Private | None = None
    stage: Text | None = None
    reply_queue: Text | None = None
    unset: Texts = ()


@record("crm.core-replies", key="ext_id")
class CoreReply(NamedTuple):
    """What the asker is told, as JSON on the topic that stands for ``reply_queue``."""

    ext_id: ExtId
    reply_queue: Text = ""
    status: CardOutcome = CardOutcome.SUCCESS
    action: CardAction | None = None
    full_name: Private | None = None
    phone: Private | None = None
    stage: Text | None = None
    bitrix_lead_id: Int | None = None
    reason: Text | None = None
    attempts: Int | None = None


also_on(CardReceipt, "crm.core-user")
