"""ETags: a reader that names the tag of an answer gets 304 and no body while the answer would be the same
(RFC 9110, 13.1.2)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from fastapi import Header, Response
from pydantic.json_schema import SkipJsonSchema

from tables.view import Known

LISTED: Final = re.compile(r'(?:W/)?"([^"]*)"')
DOCUMENTED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"headers": {"ETag": {"description": "Tag of this answer", "schema": {"type": "string"}}}},
    304: {"description": "Not modified: the answer would be the one whose ETag came in If-None-Match"},
}
"""The responses of a route with tags."""
IfNoneMatch = Annotated[str | SkipJsonSchema[None], Header(description="ETags of earlier answers, or *")]


def known_by(if_none_match: str | None) -> Known:
    """Returns the check whether a tag is in a header's value; tags are compared weakly, as RFC 9110 says."""
    text = (if_none_match or "").strip()
    tags = frozenset(LISTED.findall(text))
    return lambda tag: text == "*" or tag in tags


def headers_of(tag: str) -> dict[str, str]:
    """Returns the headers of an answer with a tag. A cache may keep it and asks each time whether it still holds."""
    return {"ETag": f'"{tag}"', "Cache-Control": "private, no-cache"}


def not_modified(tag: str) -> Response:
    """Returns the answer to a caller who has the answer of this tag."""
    return Response(status_code=304, headers=headers_of(tag))
