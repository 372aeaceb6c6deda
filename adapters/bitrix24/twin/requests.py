"""Requests as a portal reads them: JSON or a PHP form, beside the parameters of the query
(docs/contracts/bitrix24.md#calls)."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request

from adapters.bitrix24.twin.errors import RestError
from adapters.bitrix24.twin.php_form import read_form
from adapters.request_body import TooLarge, read_body
from adapters.twin_kit.bodies import MAX_BYTES, refuse_constant


async def read_params(request: Request) -> dict[str, Any]:
    """Return the parameters of a method. Raises RestError if they can't be read."""
    try:
        body = await read_body(request, MAX_BYTES)
        text = body.decode()
        query = read_form(request.url.query)
        if not text.strip():
            return query
        if "json" in request.headers.get("content-type", "") or text.lstrip()[:1] == "{":
            read = json.loads(text, parse_constant=refuse_constant)
            if "\\ud" in text.lower():
                json.dumps(read, ensure_ascii=False).encode()  # half a character can be neither kept nor sent back
            if not isinstance(read, dict | list) or (isinstance(read, list) and read):
                raise ValueError("an object")
            return query | (read or {})
        return query | read_form(text)
    except TooLarge:
        raise RestError("INVALID_REQUEST", "Request is too large", 413) from None
    except (ValueError, RecursionError):
        raise RestError("INVALID_REQUEST", "Request can't be read") from None
