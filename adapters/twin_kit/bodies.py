"""Bodies of requests to a twin as JSON documents, and the texts of their errors."""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from adapters.request_body import TooLarge, read_body

MAX_BYTES: Final = 4 * 1024 * 1024
"""Largest body of a request to a twin."""


async def read_json(request: Request) -> Any:
    """Return the document of a control request. Raises HTTPException.

    The content type must be JSON's, so that no page of another site can send it without being asked for permission.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "Content-Type: application/json")
    try:
        return json.loads(await read_body(request, MAX_BYTES), parse_constant=refuse_constant)
    except TooLarge:
        raise HTTPException(413, "too large") from None
    except (ValueError, RecursionError):
        raise HTTPException(400, "not JSON") from None
    except ClientDisconnect:
        raise HTTPException(400, "cut off") from None


def refuse_constant(word: str) -> None:
    """Raise ValueError for NaN and Infinity, which Python's reader takes."""
    raise ValueError(f"{word} is no JSON")


def valid(kind: Any, body: Any) -> Any:
    """Return a document as a type of pydantic. Raises HTTPException 422 that shows no value."""
    try:
        return TypeAdapter(kind).validate_python(body)
    except ValidationError as error:
        raise HTTPException(422, problems(error)) from None


def problems(error: ValidationError) -> str:
    """Return which fields are wrong and why, without their values."""
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors()[:5])
