"""The crm domain: users of the Core service, and the cards that they have in Bitrix24
(docs/contracts/core-users.md#http-api).

    AddUser ─► crm.directory gives the id ─► UserCreated ─► crm.user ─► create_card
    ChangeUser, MoveUser ──────────────────────────────────► crm.user ─► update_card, move_card ─► receipt ─► crm.user
    BeginRequest ─► crm.request passes it on, once a key; the aggregate that carries it out sends it the outcome

A command carries the portal's stages that its sender read, so that the rules stay functions of state and command, and a
replay decides as before.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import Any, Final

import orjson

from schemas.bitrix24 import CardAction, CardOutcome, CardReceipt, cleared, only_new
from schemas.commands import CommandOutcome
from schemas.crm import (
    DIRECTORY,
    AddUser,
    BeginRequest,
    ChangeUser,
    MendUser,
    MoveUser,
    RequestBegun,
    RequestDone,
    UserCreated,
    UserMended,
    UserMoved,
    UserNumbered,
    UserOperation,
    UserUpdated,
)
from schemas.errors import shorten
from schemas.parking import done_instead
from streams.aggregate import Accepted, Aggregate, Cause, Domain, Outgoing, Rejected
from streams.domains import core_users
from streams.idempotency import Requests
from tables.layout import State
from tables.listing import Listing

CARDS: Final = "bitrix.commands"
OWN_STAGES: Final = ("NEW", "IN_PROCESS", "PROCESSED", "JUNK", "CONVERTED")
"""Stages of a portal that has none of its own (docs/contracts/bitrix24.md#stages)."""
E164: Final = re.compile(r"\+[1-9][0-9]{6,14}(?:[;,#]+[0-9]{1,10})?")
"""Phone number in E.164, with an extension as the portal accepts one: ``+77001112233;12``."""
CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
NAME_CHARACTERS: Final = 255
"""Characters in a text column of the portal."""
MISSING_PHONE: Final = Rejected("missing_phone", core_users.MISSING_PHONE)
ACTIONS: Final = {
    UserCreated: CardAction.CREATE_CARD,
    UserUpdated: CardAction.UPDATE_CARD,
    UserMoved: CardAction.MOVE_CARD,
}
card: Final = partial(core_users.card, aggregate="crm.user")
"""Returns the card's command for a user."""


def refusal(full_name: str | None, phone: str | None, stage: str | None, stages: tuple[str, ...]) -> Rejected | None:
    """Returns the refusal of invalid values of a user, None if all are valid; values of None are not checked."""
    if full_name is not None and not full_name.strip():
        return Rejected("missing_full_name", "Missing full name")
    if full_name is not None and (len(full_name) > NAME_CHARACTERS or CONTROLS.search(full_name)):
        return Rejected("invalid_full_name", f"full_name: one line of at most {NAME_CHARACTERS} characters")
    if phone is not None and not phone.strip():
        return MISSING_PHONE
    if phone is not None and not E164.fullmatch(phone):
        return Rejected("invalid_phone", "phone: not of the form +77001112233 (E.164), or +77001112233;12")
    known = stages or OWN_STAGES
    if stage == "":
        return Rejected("missing_stage", f"Missing stage: one of {', '.join(known)}")
    if stage is not None and stage not in known:
        return Rejected("unknown_stage", f"stage: one of {', '.join(known)}, came {shorten(stage)}")
    return None


def refusal_of_new(full_name: str | None, phone: str | None, stage: str | None, stages: Any) -> Rejected | None:
    """Returns `refusal` for a user that must have all values."""
    if phone is None:
        return MISSING_PHONE
    return refusal(full_name or "", phone, stage or "", stages)


def decide_directory(before: State | None, command: AddUser, cause: Cause) -> Accepted | Rejected:
    """Returns the next id; a refused command takes none."""
    wrong = refusal_of_new(command.full_name, command.phone, command.stage, command.stages)
    if command.ext_id != DIRECTORY:  # a second one would give the same ids again
        wrong = Rejected("unknown_directory", f"there is one directory, {DIRECTORY!r}")
    if wrong is not None:
        return wrong
    number = 1 if before is None or before.last_id is None else before.last_id + 1
    created = UserCreated(
        ext_id=str(number),
        update_id=1,
        user_id=number,
        full_name=command.full_name,
        phone=command.phone,
        stage=command.stage,
        request=command.request,
    )
    numbered = UserNumbered(DIRECTORY, last_id=number)
    return Accepted([numbered], subject=str(number), tell=[Outgoing("crm.user", created)])


def decide_user(before: State | None, command: ChangeUser | MoveUser | MendUser, cause: Cause) -> Accepted | Rejected:
    """Returns the changed fields; a command that changes nothing is accepted without events."""
    if isinstance(command, MendUser):
        return _mend(before, command)
    if before is None:
        return Rejected("not_found", f"there is no user {shorten(command.ext_id)}")
    name, phone = (command.full_name, command.phone) if isinstance(command, ChangeUser) else (None, None)
    wrong = refusal(name, phone, command.stage, command.stages)
    if wrong is not None:
        return wrong
    given = {"full_name": name, "phone": phone, "stage": command.stage}
    changed: dict[str, Any] = {
        field: value for field, value in given.items() if value not in (None, getattr(before, field))
    }
    if not changed:
        return Accepted([])
    event = UserUpdated if isinstance(command, ChangeUser) else UserMoved
    return Accepted([event(command.ext_id, request=command.request, **changed)])


def react_to_user(before: State | None, after: State | None, event: Any, cause: Cause) -> list[Outgoing]:
    """Returns a card for each of our changes, and the answer to the request that asked for it."""
    if after is not None and isinstance(event, CardReceipt):
        return _as_done(after, event, cause)
    action = ACTIONS.get(type(event))
    if after is None or action is None:
        return []
    told = card(after, action, cause)
    if before is not None:
        known = before.bitrix_lead_id is not None
        told = (only_new if known else cleared)(card(before, action, cause), told)
    done = [REQUESTS.answer(event.request, CommandOutcome.ACCEPTED, _answer(after))] if event.request else []
    return [Outgoing(CARDS, told), *done]


def _as_done(user: State, receipt: CardReceipt, cause: Cause) -> list[Outgoing]:
    """Returns a command to ourselves if the card differs from what was asked for: only decided events may change a
    user."""
    if receipt.bitrix_outcome != CardOutcome.SUCCESS or not core_users.stands(user, core_users.edits_of(receipt)):
        return []
    edits = orjson.dumps(core_users.edits_of(receipt)).decode()
    return [Outgoing("crm.user.commands", MendUser(user.ext_id, cause.id(0), edits))]


def _mend(user: State | None, command: MendUser) -> Accepted | Rejected:
    """Returns the user's event for a person's edit of its card. No rule is checked and no card updated, as the portal
    has the values already. No reply is written. Fields that changed since stay, so a repeat by a rebuild does
    nothing."""
    if user is None:
        return Rejected("not_found", f"there is no user {shorten(command.ext_id)}")
    now = core_users.stands(user, done_instead(command.edits))
    if not now:
        return Accepted([], replies=False)
    unset = tuple(field for field, value in now.items() if value is None)
    return Accepted([UserMended(command.ext_id, unset=unset, **now)], replies=False)  # type: ignore[arg-type]


def _asked(request: BeginRequest) -> AddUser | ChangeUser | MoveUser | Rejected:
    """Returns the command that a request is for."""
    name, phone, stage, stages = request.full_name, request.phone, request.stage, request.stages
    if request.operation == UserOperation.ADD:
        wrong = refusal_of_new(name, phone, stage, stages)
        return wrong or AddUser(DIRECTORY, "", name, phone, stage, stages)
    user = str(request.user_id)
    if wrong := refusal(name, phone, stage, stages):
        return wrong
    if request.operation == UserOperation.MOVE:
        return MoveUser(user, "", stage, stages)
    return ChangeUser(user, "", name, phone, stage, stages)


def _answer(user: State) -> dict[str, Any]:
    """Returns the answer to a request: the user's present state."""
    return {"user_id": user.user_id, "full_name": user.full_name, "phone": user.phone, "stage": user.stage}


def _unchanged(before: State | None, command: Any, accepted: Accepted) -> dict[str, Any] | None:
    """Returns the answer to a request that changes nothing; the reaction to the user's event answers all others."""
    return None if accepted.events or before is None else _answer(before)


CORE_PEOPLE: Final = Listing(indexes=(("stage",), ("phone",), ("bitrix_lead_id",)), search=("full_name", "phone"))
PEOPLE: Final = replace(CORE_PEOPLE, orders=("user_id",))

REQUESTS: Final = Requests("crm.request", RequestBegun, RequestDone, _asked)
"""Requests of the Core users service, whose records are older than `schemas.requests`."""

CRM: Final = Domain(
    "crm",
    aggregates=(
        Aggregate("crm.user", react=react_to_user, decide=REQUESTS.answering(decide_user, _unchanged), listing=PEOPLE),
        Aggregate("crm.directory", decide=REQUESTS.answering(decide_directory, lambda *_: None)),
        replace(REQUESTS.aggregate, listing=Listing(orders=("user_id",))),
        Aggregate(
            core_users.USERS,
            react=core_users.react_to_core_user,
            evolve_with=core_users.evolve_core_user,
            listing=CORE_PEOPLE,
        ),
    ),
    outboxes=(CARDS, core_users.REPLIES),
    statuses={"not_found": 404},
)
