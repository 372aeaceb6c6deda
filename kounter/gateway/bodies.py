"""Bodies of requests: limited in size while they are read, and checked for UTF-8 before they are parsed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import HTTPException, Request, Response
from starlette.requests import ClientDisconnect

from adapters.request_body import TooLarge, read_body
from kounter.gateway.strict import StrictRoute
from schemas.errors import InvalidInput, shorten

MOST_BYTES: Final = 64 * 1024


class BodyRoute(StrictRoute):
    """A route whose body is checked first. The framework's own limit answers in plain text, and its parser would also
    take UTF-16."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle: Any = super().get_route_handler()
        if self.body_field is None:
            return handle  # type: ignore[no-any-return]

        async def checked(request: Request) -> Response:
            request._body = await read_text(request)
            refuse_repeats(request._body)
            answer: Response = await handle(request)
            return answer

        return checked


async def read_text(request: Request) -> bytes:
    """Returns the whole body, as UTF-8. Raises HTTPException: 413 above `MOST_BYTES`, whatever its Content-Length says,
    400 if it is not UTF-8 or ends too soon."""
    try:
        body = await read_body(request, MOST_BYTES)
    except TooLarge:
        raise HTTPException(413, f"a body of more than {MOST_BYTES} bytes") from None
    except ClientDisconnect:
        raise HTTPException(400, "the body was cut off") from None
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise HTTPException(400, f"the body is not UTF-8: byte {error.start}") from None
    if b"\0" in body:  # never in JSON; in UTF-16 everywhere
        raise HTTPException(400, f"the body is not UTF-8 text: byte {body.index(0)} is zero")
    return body


def refuse_repeats(body: bytes) -> None:
    """Raises InvalidInput for a name that occurs twice in an object: JSON does not define which one counts."""
    with contextlib.suppress(ValueError, RecursionError):  # no JSON: the parser reports it
        json.loads(body, object_pairs_hook=_each_once)


def _each_once(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise InvalidInput(shorten(name), "once", "twice")
        seen.add(name)
