"""Nest's envelope ``{"pattern", "data"}`` as our record, and an answer in one of two shapes
(docs/contracts/core-users.md#replies).

{"pattern": "user_created", "data": {"action": "create_card", "replyQueue": "bitrix.responses",
 "user": {"id": 123, "full_name": "Иван Иванов", "phone": "+77001112233", "stage": "NEW"}}}
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, NamedTuple

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from adapters.nest.settings import RESPONSES, NestSettings
from schemas.bitrix24 import CardAction, CardOutcome
from schemas.core_users import CardAsked, CoreReply
from schemas.errors import KounterError, UndecodableRecord, shorten
from schemas.fields import is_id

ACTION_OF: Final = {
    "user_created": CardAction.CREATE_CARD,
    "user_updated": CardAction.UPDATE_CARD,
    "user_moved": CardAction.MOVE_CARD,
}
HINT: Final = 'The form is {"pattern": "user_created", "data": {"action", "user", "replyQueue"}}.'
Short = Annotated[str, StringConstraints(max_length=1_000)]


def _whole(value: object) -> object:
    """Returns a text of digits as an integer: JavaScript's ORMs send ids of bigint columns as texts."""
    return int(value) if isinstance(value, str) and is_id(value) else value


Id = Annotated[int, BeforeValidator(_whole), Field(strict=True, ge=0, lt=2**63)]


class _Lenient(BaseModel):
    """A model that accepts a number for a text, for example for a phone."""

    model_config = ConfigDict(coerce_numbers_to_str=True)


class _User(_Lenient):
    id: Id
    full_name: Short | None = None
    phone: Short | None = None
    stage: Short | None = None


class _Data(BaseModel):
    action: Literal["create_card", "update_card", "move_card"]
    user: _User
    replyQueue: Short = RESPONSES


class _Envelope(BaseModel):
    pattern: Literal["user_created", "user_updated", "user_moved"]
    data: _Data


class Complaint(NamedTuple):
    """The answer to an unreadable message."""

    queue: str
    """The ``replyQueue`` that the message names."""
    key: bytes | None
    """Key of the message's user, if the id can be read."""
    value: bytes


def complain(value: bytes | None, error: KounterError, settings: NestSettings) -> Complaint | None:
    """Returns the answer to a broken message in the error shape of docs/contracts/core-users.md#replies; None if it
    names no known queue."""
    try:
        body = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    data = body.get("data") if isinstance(body, dict) else None
    data = data if isinstance(data, dict) else {}
    queue = data.get("replyQueue", RESPONSES if "user" in data else None)
    if not isinstance(queue, str) or queue not in settings.replies:
        return None
    user = data.get("user")
    id = _whole(user.get("id")) if isinstance(user, dict) else None
    known = type(id) is int and 0 <= id < 2**63
    answer = {"status": "error", "reason": error.message, "user": {"id": id} if known else {}, "attempts": 0}
    return Complaint(queue, str(id).encode() if known else None, orjson.dumps(answer))


def read_message(value: bytes, ask_id: str, settings: NestSettings) -> CardAsked:
    """Returns the request in a message. Raises UndecodableRecord that names the field."""
    try:
        envelope = _Envelope.model_validate(orjson.loads(value))
    except orjson.JSONDecodeError as error:
        raise UndecodableRecord("no_json", f"not JSON in UTF-8: {error}", hint=HINT) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "message"
        raise UndecodableRecord("invalid_envelope", f"{place}: {first['msg']}", hint=HINT) from None
    data, user, action = envelope.data, envelope.data.user, ACTION_OF[envelope.pattern]
    if data.action != action.label:
        wrong = f"data.action: {envelope.pattern} goes with {action.label}, came {data.action}"
        raise UndecodableRecord("invalid_envelope", wrong, hint=HINT)
    if data.replyQueue not in settings.replies:
        known = f"one of {', '.join(settings.replies)}, came {shorten(data.replyQueue)}"
        hint = "Name its topic in KOUNTER_NEST__REPLIES."
        raise UndecodableRecord("unknown_reply_queue", f"data.replyQueue: {known}", hint=hint)
    return CardAsked(str(user.id), ask_id, action, user.full_name, user.phone, user.stage, data.replyQueue)


def write_reply(reply: CoreReply) -> bytes:
    """Returns the answer as JSON, in the shapes of docs/contracts/core-users.md#replies with the number of tries.
    Raises UndecodableRecord for an id that is no number, which no message can have named."""
    if not is_id(reply.ext_id):
        raise UndecodableRecord("foreign_user", f"{shorten(reply.ext_id)} is not the id of a user of the Core service")
    user = {"full_name": reply.full_name, "phone": reply.phone, "stage": reply.stage}
    shown: dict[str, Any] = {"id": int(reply.ext_id), **{k: v for k, v in user.items() if v is not None}}
    if reply.status == CardOutcome.SUCCESS:
        action = CardAction[reply.action].label if reply.action in tuple(CardAction) else None  # UNKNOWN: a later one
        answer = {"status": "success", "action": action, "user": shown, "bitrix_lead_id": reply.bitrix_lead_id}
    else:
        answer = {"status": "error", "reason": reply.reason, "user": shown}
    return orjson.dumps({**answer, "attempts": reply.attempts or 0})
