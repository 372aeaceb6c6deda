"""Beside cards: comments in a Bitrix24 lead's timeline, and what people change in the portal
(docs/contracts/bitrix24.md#comments)."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from schemas.bitrix24 import CardOutcome, CardReceipt
from schemas.fields import ExtId, Int, Micros, Money, Personal, Text
from schemas.record import also_on, record


@record("bitrix.commands", key="ext_id")
class CommentCommand(NamedTuple):
    """A comment for the timeline of a lead, which is found by its origin, then by the phone, or created."""

    ext_id: ExtId
    """The lead's ORIGIN_ID (docs/contracts/rosdomofon.md#mapping-to-bitrix24); per-key order holds for it."""
    command_id: Text = ""
    """Also stands in the comment, so that a repeat finds it."""
    text: Annotated[Text, Personal()] = ""
    title: Text | None = None
    """Of a new lead, as are the next ones."""
    phone: Annotated[Text, Personal()] | None = None
    source: Text | None = None
    bitrix_lead_id: Int | None = None
    """Where it is known already, as is the next one."""
    comment_id: Int | None = None
    reply_topic: Text = ""
    reply_ext_id: Text = ""
    """The key of the receipt."""


@record("bitrix.responses", "domofon.message", key="ext_id", if_unknown="ignore")
class CommentReceipt(NamedTuple):
    """What became of a comment."""

    ext_id: ExtId
    comment_command_id: Text | None = None
    comment_outcome: CardOutcome | None = None
    comment_id: Int | None = None
    comment_lead_id: Int | None = None
    comment_reason: Text | None = None
    comment_attempts: Int | None = None
    unset: tuple[str, ...] = ()
    comment_edits: Text | None = None
    """JSON of what a person changed before the command was carried out: by field what was asked and what was done."""
    comment_edits_private: Annotated[Text, Personal()] | None = None
    """Likewise of personal fields."""


@record(
    "estate.lead", "crm.user", "crm.core-user", "domofon.abonent", "domofon.sign-up", key="ext_id", if_unknown="ignore"
)
class CardChanged(NamedTuple):
    """The lead of ours as it stands in the portal now, after a person, or we, changed it there."""

    ext_id: ExtId
    portal_lead_id: Int | None = None
    portal_stage: Text | None = None
    portal_title: Text | None = None
    portal_name: Annotated[Text, Personal()] | None = None
    portal_phone: Annotated[Text, Personal()] | None = None
    portal_modified_at: Micros | None = None
    portal_deleted: bool | None = None
    portal_comments: Annotated[Text, Personal()] | None = None
    """The card's own comment, in plain words."""
    portal_opportunity: Money | None = None
    unset: tuple[str, ...] = ()


@record("domofon.abonent", key="ext_id", if_unknown="ignore")
class PortalComment(NamedTuple):
    """What a person wrote for the abonent into the timeline of the abonent's lead."""

    ext_id: ExtId
    portal_comment_id: Int | None = None
    portal_comment: Annotated[Text, Personal()] | None = None
    unset: tuple[str, ...] = ()


also_on(CardReceipt, "domofon.sign-up")
