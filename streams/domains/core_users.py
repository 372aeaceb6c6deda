"""Users of another Core service (docs/contracts/core-users.md#messages): a card for each that it asks for, an answer
for each outcome.

    CardAsked ─► crm.core-user ─► CardCommand ─► Bitrix24 ─► CardReceipt ─► crm.core-user ─► CoreReply

That service has its own rules and ids; ours hold only what it refuses itself, a user without a phone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from schemas.bitrix24 import CardAction, CardCommand, CardOutcome, CardReceipt, cleared
from schemas.core_users import CardAsked, CoreReply
from schemas.parking import brief, done_instead
from streams.aggregate import Cause, Outgoing
from tables.fold import Evolve, evolve_by
from tables.layout import Layout, State

USERS: Final = "crm.core-user"
REPLIES: Final = "crm.core-replies"
CARDS: Final = "bitrix.commands"
FIELDS: Final = {"name": "full_name", "phone": "phone", "stage": "stage"}
"""A user's field by the card command's field."""
MISSING_PHONE: Final = "Missing phone number"
"""Text of the refusal. Source: docs/contracts/core-users.md#http-api."""


def stands(user: State, instead: Mapping[str, tuple[Any, Any]]) -> dict[str, str | None]:
    """Returns the fields of a user that a person's edit of its card's command changed, unless they changed again
    since."""
    found: dict[str, str | None] = {}
    for name, (asked, done) in instead.items():
        field = FIELDS.get(name)
        if field is None or brief(getattr(user, field)) != asked:
            continue
        # A card whose command names no stage keeps its own.
        found[field] = user.portal_stage if name == "stage" and done is None else done
    return found


def evolve_core_user(layout: Layout) -> Evolve:
    """Returns the default `evolve`, which also takes over a person's edits of a card's command, unless a later message
    has changed the user meanwhile."""
    plain = evolve_by(layout)

    def evolve(before: State | None, event: Any, at: int) -> State | None:
        after = plain(before, event, at)
        if after is None or after is before or not isinstance(event, CardReceipt):
            return after
        if event.bitrix_outcome != CardOutcome.SUCCESS or not (instead := edits_of(event)):
            return after
        return after._replace(**stands(after, instead))

    return evolve


def edits_of(receipt: CardReceipt) -> dict[str, tuple[Any, Any]]:
    """Returns (asked, done) by field of the card's command."""
    return done_instead(receipt.bitrix_edits, receipt.bitrix_edits_private)


def react_to_core_user(before: State | None, after: State | None, event: Any, cause: Cause) -> list[Outgoing]:
    """Returns the card that is asked for, or the answer to the sender."""
    if after is None:
        return []
    if isinstance(event, CardReceipt):
        return [Outgoing(REPLIES, _outcome(after, event))]
    if not isinstance(event, CardAsked):
        return []
    if event.action != CardAction.MOVE_CARD and not event.phone:
        return [Outgoing(REPLIES, _no_phone(after, event))]
    action = event.action or CardAction.UPDATE_CARD
    told = card(after, action, cause)
    return [Outgoing(CARDS, told if before is None else cleared(card(before, action, cause), told))]


def card(user: State, action: CardAction, cause: Cause, aggregate: str = USERS) -> CardCommand:
    """Returns the card's command for a user. ``aggregate``: topic of the user's aggregate."""
    return CardCommand(
        ext_id=user.ext_id,
        command_id=cause.id(0),
        aggregate=aggregate,
        action=action,
        name=user.full_name,
        phone=user.phone,
        stage=user.stage,
        source="core",
        bitrix_lead_id=user.bitrix_lead_id,
        reply_topic=aggregate,
    )


def _no_phone(user: State, asked: CardAsked) -> CoreReply:
    return CoreReply(
        user.ext_id,
        user.reply_queue or "",
        CardOutcome.ERROR,
        asked.action,
        asked.full_name,
        stage=asked.stage,
        reason=MISSING_PHONE,
        attempts=0,
    )


def _outcome(user: State, receipt: CardReceipt) -> CoreReply:
    """Returns the answer with the user's present state, which later messages may have changed. Fields that a person
    fixed are answered as they were written to the portal."""
    told = {FIELDS[name]: done for name, (_, done) in edits_of(receipt).items() if name in FIELDS}
    return CoreReply(
        user.ext_id,
        user.reply_queue or "",
        receipt.bitrix_outcome or CardOutcome.ERROR,
        receipt.bitrix_action,
        told.get("full_name", user.full_name),
        told.get("phone", user.phone),
        told.get("stage", user.stage),
        receipt.bitrix_lead_id,
        receipt.bitrix_reason,
        receipt.bitrix_attempts,
    )
