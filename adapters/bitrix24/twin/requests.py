"""How a portal reads a request: JSON or a PHP form, with the query's parameters beside it."""

from __future__ import annotations

import json
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from adapters.bitrix24.php_form import parse_brackets
from adapters.bitrix24.twin.errors import RestError

MOST_BYTES: Final = 4 * 1024 * 1024


class TooLarge(Exception):
    """The body is above `MOST_BYTES`."""


async def read_body(request: Request) -> bytes:
    """The whole body. Raises TooLarge as soon as it is, and ClientDisconnect."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise TooLarge
    return bytes(body)


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


async def read_params(request: Request) -> dict[str, Any]:
    """The parameters of a method. Raises RestError for what can't be read."""
    try:
        body = await read_body(request)
        text = body.decode()
        query = parse_brackets(request.url.query)
        if not text.strip():
            return query
        if "json" in request.headers.get("content-type", "") or text.lstrip()[:1] == "{":
            read = json.loads(text, parse_constant=_refuse)
            if "\\ud" in text.lower():
                json.dumps(read, ensure_ascii=False).encode()  # half a character can be neither kept nor sent back
            if not isinstance(read, dict | list) or (isinstance(read, list) and read):
                raise ValueError("an object")
            return query | (read or {})
        return query | parse_brackets(text)
    except TooLarge:
        raise RestError("INVALID_REQUEST", "Request is too large", 413) from None
    except (ValueError, RecursionError):
        raise RestError("INVALID_REQUEST", "Request can't be read") from None


async def read_json(request: Request) -> Any:
    """The body of a control request. Raises HTTPException."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "Content-Type: application/json")
    try:
        return json.loads(await read_body(request), parse_constant=_refuse)
    except TooLarge:
        raise HTTPException(413, "too large") from None
    except (ValueError, RecursionError):
        raise HTTPException(400, "not JSON") from None
    except ClientDisconnect:
        raise HTTPException(400, "cut off") from None
