"""The route for a portal's outgoing webhook: a form in PHP's notation that names a changed entity.

An event is sent once and holds an id only (docs/contracts/bitrix24.md#events): the entity is read again, and a regular
walk finds lost events (`changes`).
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, Final, NamedTuple

from fastapi import APIRouter, Request, Response
from pydantic import SecretStr
from starlette.requests import ClientDisconnect

from adapters.bitrix24.rest.php_form import parse_brackets
from adapters.bitrix24.settings import Bitrix24HookSettings
from adapters.request_body import TooLarge, read_body
from schemas.errors import InvalidInput

MOST_BYTES: Final = 64 * 1024
MOST_TEXT: Final = 255
FORM: Final = "application/x-www-form-urlencoded"


class HookName(StrEnum):
    """Events that are processed; others are accepted and ignored."""

    LEAD_ADD = "ONCRMLEADADD"
    LEAD_UPDATE = "ONCRMLEADUPDATE"
    LEAD_DELETE = "ONCRMLEADDELETE"
    COMMENT_ADD = "ONCRMTIMELINECOMMENTADD"


class HookEvent(NamedTuple):
    """An event; ``id`` names the lead or the comment, ``ts`` is in epoch seconds by the portal's clock."""

    name: HookName
    id: int
    ts: int


class ForeignHook(Exception):
    """The token of an event is not the expected one: it is not from our portal."""


OnEvent = Callable[[HookEvent], Awaitable[bool | None]]
"""Accepts an event; returns False if it could not be kept."""


def read_hook(body: bytes, token: SecretStr) -> HookEvent | None:
    """Return the event of a request's body; None if it is of a kind that is ignored.

    Raises ForeignHook for a wrong token before anything else is checked, and InvalidInput.
    """
    try:
        form = parse_brackets(body.decode())
    except ValueError:
        raise ForeignHook from None
    ours = token.get_secret_value()
    came = _at(form, "auth", "application_token")
    if not ours or not hmac.compare_digest(came.encode(), ours.encode()):
        raise ForeignHook
    try:
        name = HookName(_at(form, "event").upper())
    except ValueError:
        return None
    return HookEvent(name, _number(form, "data", "FIELDS", "ID"), _number(form, "ts"))


def hooks_router(settings: Bitrix24HookSettings, on_event: OnEvent) -> APIRouter:
    """Return the route for events. The answer waits for ``on_event``, which must be quick and keep the event: after a
    failure the portal does not send it again."""
    router = APIRouter()

    @router.post(settings.path, status_code=200, response_class=Response, tags=["bitrix24"])
    async def take(request: Request) -> Response:
        """Accept an event: 403 for a wrong token, 413, 415 and 422 if it can't be read, 503 if it can't be kept."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
            return Response(status_code=415)
        try:
            event = read_hook(await read_body(request, MOST_BYTES), settings.application_token)
        except TooLarge:
            return Response(status_code=413)
        except ForeignHook:
            return Response(status_code=403)
        except InvalidInput as error:
            return Response(error.message, 422, media_type="text/plain")
        except ClientDisconnect:
            return Response(status_code=400)
        if event is not None and await on_event(event) is False:
            return Response(status_code=503)
        return Response(status_code=200)

    return router


def _at(form: Any, *path: str) -> str:
    """Return the value at a path if it is a short text, else an empty one."""
    for step in path:
        form = form.get(step) if isinstance(form, dict) else None
    return form if isinstance(form, str) and len(form) <= MOST_TEXT else ""


def _number(form: Any, *path: str) -> int:
    text = _at(form, *path)
    if not (text.isascii() and text.isdecimal() and len(text) < 19 and int(text) > 0):
        raise InvalidInput(".".join(path), "a positive number", text)
    return int(text)
