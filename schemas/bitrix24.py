"""Commands to the Bitrix24 delivery, and its receipts. Source: docs/contracts/core-users.md#actions."""

from __future__ import annotations

from typing import Annotated, Any, Final, NamedTuple

from schemas.fields import ExtId, Int, Label, Micros, Money, Personal, Text
from schemas.record import also_on, namespace

record = namespace("bitrix24")
portal = namespace("portal")

CARD_FIELDS: Final = ("title", "name", "phone", "stage", "comment", "opportunity")
"""Fields of a command that the card shows; absent ones stay as they are in the portal."""
CLEARABLE: Final = ("name", "phone", "comment", "opportunity")
"""Card fields that may be empty: a lead always has a title and a stage."""


class CardAction(Label):
    """The words are those of docs/contracts/core-users.md#actions."""

    CREATE_CARD = "CREATE_CARD", "create_card"
    UPDATE_CARD = "UPDATE_CARD", "update_card"
    MOVE_CARD = "MOVE_CARD", "move_card"


class CardOutcome(Label):
    SUCCESS = "SUCCESS", "success"
    ERROR = "ERROR", "error"


@record("bitrix.commands", key="ext_id")
class CardCommand(NamedTuple):
    """What a Bitrix24 lead card shall be: reactions put it here, the delivery agent carries it out."""

    ext_id: ExtId
    """Key of the aggregate that asks; commands of one key are delivered in order."""
    command_id: Text = ""
    """Derived from its cause, so a repeat is recognizable."""
    aggregate: Text = ""
    """``estate.lead``; with ``ext_id`` it makes Bitrix24's ORIGIN_ID."""
    action: CardAction = CardAction.CREATE_CARD
    title: Text | None = None
    name: Annotated[Text, Personal()] | None = None
    phone: Annotated[Text, Personal()] | None = None
    stage: Text | None = None
    """A STATUS_ID of the portal."""
    comment: Annotated[Text, Personal()] | None = None
    opportunity: Money | None = None
    source: Text | None = None
    bitrix_lead_id: Int | None = None
    """The lead's id in the portal, if it is known already."""
    reply_topic: Text = ""
    """The topic of the aggregate, where the receipt becomes part of its history."""
    unset: tuple[str, ...] = ()
    """Fields of `CLEARABLE` that the card showed and shows no more: they are cleared in the portal, too."""
    old_phone: Annotated[Text, Personal()] | None = None
    """The lead's phone that ``phone`` replaces, or that is removed: other phones may have been entered by a person."""


def cleared(before: CardCommand, after: CardCommand) -> CardCommand:
    """Returns ``after``, with the fields that only ``before`` had named in ``unset``."""
    gone = tuple(name for name in CLEARABLE if getattr(before, name) is not None and getattr(after, name) is None)
    return after._replace(unset=gone, old_phone=None if before.phone == after.phone else before.phone)


class OwnId(int):
    """The portal's id of a lead that is surely ours: we made it there, wrote to it before, or a person has named it.

    Any other id is looked at first: it may have been learned in another portal, and be somebody else's lead here.
    """


def only_new(before: CardCommand, after: CardCommand) -> CardCommand:
    """Returns ``after`` without the values that ``before`` had too: a person may have changed them in the portal
    since."""
    same: dict[str, Any] = {name: None for name in CARD_FIELDS if getattr(before, name) == getattr(after, name)}
    return cleared(before, after)._replace(**same)


def says_something(command: CardCommand) -> bool:
    """Returns whether the command changes what a card shows."""
    return bool(command.unset) or any(getattr(command, name) is not None for name in CARD_FIELDS)


@record("bitrix.responses", "estate.lead", "crm.user", key="ext_id", if_unknown="ignore")
class CardReceipt(NamedTuple):
    """What became of a card command."""

    ext_id: ExtId
    bitrix_command_id: Text | None = None
    bitrix_action: CardAction | None = None
    bitrix_outcome: CardOutcome | None = None
    bitrix_lead_id: Int | None = None
    bitrix_reason: Text | None = None
    """Code and text of an error, never a secret."""
    bitrix_attempts: Int | None = None
    unset: tuple[str, ...] = ()
    bitrix_edits: Text | None = None
    """JSON of what a person changed before the command was carried out: by field what was asked and what was done."""
    bitrix_edits_private: Annotated[Text, Personal()] | None = None
    """The same JSON for personal fields."""


@portal("bitrix.commands", key="ext_id")
class CommentCommand(NamedTuple):
    """A comment for the timeline of a lead, which is found by its origin, then by the phone, or created."""

    ext_id: ExtId
    """The lead's ORIGIN_ID (docs/contracts/rosdomofon.md#mapping-to-bitrix24); per-key order holds for it."""
    command_id: Text = ""
    """Also stands in the comment, so that a repeat finds it."""
    text: Annotated[Text, Personal()] = ""
    title: Text | None = None
    """Title of a lead that is created for this comment; ``phone`` and ``source`` are values of that lead, too."""
    phone: Annotated[Text, Personal()] | None = None
    source: Text | None = None
    bitrix_lead_id: Int | None = None
    """The lead's id in the portal, if it is known already; ``comment_id`` is that of the comment."""
    comment_id: Int | None = None
    reply_topic: Text = ""
    reply_ext_id: Text = ""
    """The key of the receipt."""


@portal("bitrix.responses", "domofon.message", key="ext_id", if_unknown="ignore")
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
    """The same JSON for personal fields."""


@portal(
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


@portal("domofon.abonent", key="ext_id", if_unknown="ignore")
class PortalComment(NamedTuple):
    """What a person wrote for the abonent into the timeline of the abonent's lead."""

    ext_id: ExtId
    portal_comment_id: Int | None = None
    portal_comment: Annotated[Text, Personal()] | None = None
    unset: tuple[str, ...] = ()


also_on(CardReceipt, "domofon.sign-up")
