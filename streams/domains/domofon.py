"""The domofon domain: records of an intercom operator are folded; a CRM gets cards and comments, and its changes go
back.

    abonent's message ─► comment in the lead's timeline, and an acknowledgement
    sign-up           ─► a lead; its stage, changed by a person, becomes the sign-up's status
    lead's stage      ─► block or unblock, a message by a template
    person's comment  ─► message to the abonent; its outcome goes into the timeline

What came from one side is never sent back to it: a message has its origin, and a stage that the other side has already
asks for nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from string import Template
from typing import Any, Final

from schemas.bitrix24 import (
    CardAction,
    CardChanged,
    CardCommand,
    CommentCommand,
    PortalComment,
    cleared,
    only_new,
    says_something,
)
from schemas.domofon import Direction, Message, Origin, SignUpMoved, SignUpStatus
from schemas.parking import done_instead
from schemas.rosdomofon import OperatorAction, OperatorCommand, OperatorOutcome, OperatorReceipt
from streams.aggregate import Aggregate, Cause, Domain, Outgoing
from streams.rules import DomofonRules
from tables.fold import Evolve, evolve_by
from tables.layout import Layout, State
from tables.listing import Listing

CARDS: Final = "bitrix.commands"
OPERATOR: Final = "rosdomofon.commands"
"""Topic of commands that go by the operator's Kafka."""
REQUESTS: Final = "rosdomofon.requests"
"""Topic of commands that go by the operator's REST."""
ABONENTS, MESSAGES, SIGN_UPS = "domofon.abonent", "domofon.message", "domofon.sign-up"
TALK: Final = Listing(indexes=(("abonent_ext_id", "said_at"),), orders=("said_at",))
WISHES: Final = Listing((("status",), ("bitrix_lead_id",)), ("created_at",), ("created_at",), ("address",))
SUPPORT: Final = "support"
"""The channel of talks with the company (docs/contracts/rosdomofon.md#messages)."""


def domofon(rules: DomofonRules) -> Domain:
    """Returns the domain under these rules."""
    ours = Reactions(rules)
    return Domain(
        "domofon",
        aggregates=(
            Aggregate(ABONENTS, react=ours.to_abonent, listing=Listing(indexes=(("phone",),))),
            Aggregate("domofon.account", listing=Listing(indexes=(("number",),), ranges=("balance",))),
            Aggregate("domofon.flat", listing=Listing(search=("address",))),
            Aggregate("domofon.service"),
            Aggregate("domofon.connection"),
            Aggregate(MESSAGES, react=ours.to_message, listing=TALK),
            Aggregate(SIGN_UPS, react=ours.to_sign_up, evolve_with=evolve_sign_up, listing=WISHES),
        ),
        outboxes=(CARDS, OPERATOR, REQUESTS),
    )


def evolve_sign_up(layout: Layout) -> Evolve:
    """Returns the default `evolve`, except that a status taken over counts only while no later one has come. A rebuild
    sends it again, behind all that the operator has sent since."""
    plain = evolve_by(layout)

    def evolve(before: State | None, event: Any, at: int) -> State | None:
        if isinstance(event, SignUpMoved) and event.moved_from is not None and before is not None:
            return plain(before, event, at) if before.status == event.moved_from else before
        return plain(before, event, at)

    return evolve


class Reactions:
    """The `react` functions of the domain, pure, under rules."""

    def __init__(self, rules: DomofonRules) -> None:
        self._rules = rules
        self._status_of: Mapping[str, SignUpStatus] = {stage: status for status, stage in rules.stages.items()}

    def to_message(self, before: State | None, after: State | None, event: Any, cause: Cause) -> list[Outgoing]:
        """Returns the CRM's comment for an abonent's message, the operator's command for the CRM's, and its outcome as
        a comment."""
        if after is None:
            return []
        if isinstance(event, OperatorReceipt):
            return self._outcome(before, after, event, cause)
        if before is not None or not isinstance(event, Message):
            return []  # its further fields, or what became of its comment
        if after.origin == Origin.PORTAL:
            return [self._send(after, after.text or "", cause, reply=after.ext_id)]
        told = []
        if after.direction == Direction.IN and after.text:
            told.append(Outgoing(CARDS, _comment(after, after.text, cause)))
            if answer := self._rules.acknowledgements.get(after.company or ""):
                told.append(self._send(after, answer, cause, n=2))
        return told

    def to_abonent(self, before: State | None, after: State | None, event: Any, cause: Cause) -> list[Outgoing]:
        """Returns what follows when a person moves the abonent's lead, or writes to the abonent in its timeline."""
        if before is None or after is None:
            return []
        if isinstance(event, PortalComment) and (event.portal_comment_id or 0) > (before.portal_comment_id or 0):
            where = f"comment/{event.portal_comment_id}"
            return [Outgoing(MESSAGES, _said(after, where, event.portal_comment or "", cause))]
        return self._moved(before, after, cause) if isinstance(event, CardChanged) else []

    def _moved(self, before: State, after: State, cause: Cause) -> list[Outgoing]:
        old, stage = before.portal_stage, after.portal_stage
        if old == stage or stage is None:
            return []
        told = []
        blocking = self._rules.block_stage
        if blocking is not None and blocking in (old, stage):
            action = OperatorAction.BLOCK if stage == blocking else OperatorAction.UNBLOCK
            told.append(Outgoing(REQUESTS, _block(after, action, cause)))
        # The first stage seen is the one that the lead was created with: it was not moved.
        if old is not None and (template := self._rules.stage_messages.get(stage)):
            said = Template(template).safe_substitute(stage=stage)
            told.append(Outgoing(MESSAGES, _said(after, f"stage/{cause.id(1)}", said, cause)))
        return told

    def to_sign_up(self, before: State | None, after: State | None, event: Any, cause: Cause) -> list[Outgoing]:
        """Returns a lead for a new sign-up; its stage follows the status, and the status follows the stage that a
        person sets."""
        if after is None:
            return []
        if before is None:
            # Whatever its status: an unknown status must not lose a sign-up.
            return [Outgoing(CARDS, self.card(after, CardAction.CREATE_CARD, cause))]
        if isinstance(event, CardChanged):
            wanted = self._status_of.get(after.portal_stage or "")
            if wanted is None or wanted == after.status or before.portal_stage == after.portal_stage:
                return []
            return [Outgoing(REQUESTS, _set_status(after, wanted, cause))]
        if isinstance(event, OperatorReceipt):
            done = event.operator_outcome == OperatorOutcome.SUCCESS
            wanted = self._status_of.get(after.portal_stage or "")
            if (edited := done_instead(event.operator_edits).get("sign_up_status")) is not None:
                wanted = SignUpStatus[edited[1]] if edited[1] in tuple(SignUpStatus) else None
            return (
                [Outgoing(SIGN_UPS, SignUpMoved(after.ext_id, wanted, moved_from=after.status))]
                if done and wanted
                else []
            )
        moved = before.status != after.status and self._rules.stages.get(after.status) != after.portal_stage
        if before.status is None and before.bitrix_lead_id is None:
            return [Outgoing(CARDS, self.card(after, CardAction.CREATE_CARD, cause))] if moved else []
        move = CardAction.MOVE_CARD
        told = _changed(self.card(before, move, cause), self.card(after, move, cause), moved)
        return [] if told is None else [Outgoing(CARDS, told)]

    def _outcome(self, before: State | None, after: State, event: Any, cause: Cause) -> list[Outgoing]:
        """Returns a comment for the timeline, once: a person's message reached the abonent, or did not."""
        if after.origin != Origin.PORTAL or (before is not None and before.operator_outcome == after.operator_outcome):
            return []
        sent = after.operator_outcome == OperatorOutcome.SUCCESS
        text = "Отправлено абоненту" if sent else f"Не отправлено абоненту: {after.operator_reason}"
        if sent and (edited := done_instead(event.operator_edits_private).get("text")):
            text = f"{text}, изменено: {edited[1]}"
        return [Outgoing(CARDS, _comment(after, text, cause))]

    def _send(self, message: State, text: str, cause: Cause, *, n: int = 0, reply: str = "") -> Outgoing:
        by_rest = self._rules.replies_by == "rest"
        command = OperatorCommand(
            ext_id=f"abonent:{message.abonent_ext_id}",
            command_id=cause.id(n),
            action=OperatorAction.SEND_MESSAGE,
            company=message.company,
            abonent_ext_id=message.abonent_ext_id,
            abonent_phone=message.abonent_phone,
            channel=message.channel or SUPPORT,
            text=text,
            by_rest=by_rest,
            # A repeat is found by this time: messages of a backlog are folded together, but were written at different
            # times.
            at=message.said_at or cause.at,
            reply_topic=MESSAGES if reply else "",
            reply_ext_id=reply,
        )
        return Outgoing(REQUESTS if by_rest else OPERATOR, command)

    def card(self, sign_up: State, action: CardAction, cause: Cause) -> CardCommand:
        """Returns the card's command for a sign-up's lead."""
        address = sign_up.address or _address(sign_up)
        shown = {
            "адрес": address,
            "компания": sign_up.company,
            "приложение": sign_up.application,
            "статус": None if sign_up.status else _other_status(sign_up),
        }
        return CardCommand(
            ext_id=sign_up.ext_id,
            command_id=cause.id(0),
            aggregate=SIGN_UPS,
            action=action,
            title=f"Заявка на подключение {sign_up.ext_id}",
            phone=None if sign_up.abonent_phone is None else f"+{sign_up.abonent_phone}",
            stage=self._rules.stages.get(sign_up.status),
            comment=", ".join(f"{name}: {value}" for name, value in shown.items() if value),
            source="rosdomofon",
            bitrix_lead_id=sign_up.bitrix_lead_id,
            reply_topic=SIGN_UPS,
        )


def _changed(before: CardCommand, after: CardCommand, moved: bool) -> CardCommand | None:
    """Returns the changes for a sign-up's lead; all fields until the lead is known to exist. A move changes no phone,
    which a person may have entered."""
    new = only_new(before, after)
    if not moved:
        new = new._replace(stage=None)
    if not says_something(new):
        return None
    if not moved or new.phone is not None or "phone" in new.unset:
        whole = cleared(before, after)
        new = (new if moved or before.bitrix_lead_id is not None else whole)._replace(action=CardAction.UPDATE_CARD)
    return new


def _comment(message: State, text: str, cause: Cause) -> CommentCommand:
    phone = message.abonent_phone
    return CommentCommand(
        ext_id=f"abonent:{message.abonent_ext_id}",
        command_id=cause.id(1),
        text=text,
        title=f"Абонент {message.abonent_ext_id}",
        phone=None if phone is None else f"+{phone}",
        source="rosdomofon",
        reply_topic=MESSAGES,
        reply_ext_id=message.ext_id,
    )


def _said(abonent: State, where: str, text: str, cause: Cause) -> Message:
    """Returns the company's message, with an id derived from where it was written."""
    return Message(
        ext_id=f"{abonent.ext_id}/{where}",
        direction=Direction.OUT,
        origin=Origin.PORTAL,
        company=abonent.company,
        abonent_ext_id=abonent.ext_id,
        abonent_phone=abonent.phone,
        channel=SUPPORT,
        text=text,
        said_at=cause.at,
    )


def _block(abonent: State, action: OperatorAction, cause: Cause) -> OperatorCommand:
    return OperatorCommand(
        ext_id=f"abonent:{abonent.ext_id}",
        command_id=cause.id(0),
        action=action,
        company=abonent.company,
        abonent_ext_id=abonent.ext_id,
        abonent_phone=abonent.phone,
        at=cause.at,
        reply_topic=ABONENTS,
        reply_ext_id=abonent.ext_id,
    )


def _set_status(sign_up: State, status: SignUpStatus, cause: Cause) -> OperatorCommand:
    return OperatorCommand(
        ext_id=f"sign-up:{sign_up.ext_id}",
        command_id=cause.id(0),
        action=OperatorAction.SET_SIGN_UP,
        company=sign_up.company,
        sign_up_ext_id=sign_up.ext_id,
        sign_up_status=status,
        at=cause.at,
        reply_topic=SIGN_UPS,
        reply_ext_id=sign_up.ext_id,
    )


def _other_status(sign_up: State) -> str | None:
    """Returns the operator's status if our enum lacks it."""
    try:
        word = json.loads(sign_up.extra or "{}").get("status")
    except (ValueError, AttributeError):
        return None
    return word if isinstance(word, str) else None


def _address(sign_up: State) -> str:
    parts = (sign_up.city, sign_up.street, sign_up.house, sign_up.flat)
    return ", ".join(str(part) for part in parts if part is not None)
