"""Query parameters: one that the document does not list is refused. A misspelt one would otherwise be ignored, and the
answer would look right."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute

from schemas.errors import InvalidInput, shorten

MOST_QUERY_BYTES: Final = 8_192
LONGEST_NAME: Final = 80


class StrictRoute(APIRoute):
    """A route that accepts only the parameters that it documents, each once."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle: Any = super().get_route_handler()

        async def checked(request: Request) -> Response:
            if request.url.query:
                check(request, documented(request.app, self.operation_id))
            answer: Response = await handle(request)
            return answer

        return checked


def documented(app: Any, operation_id: str | None) -> list[str]:
    """Returns the query parameters of an operation, from the application's own OpenAPI document."""
    for path in app.openapi()["paths"].values():
        for operation in path.values():
            if operation.get("operationId") == operation_id:
                return [p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"]
    return []


def check(request: Request, known: Collection[str]) -> None:
    """Raises InvalidInput for a parameter that is not ``known``, or that comes twice."""
    if len(request.url.query) > MOST_QUERY_BYTES:
        raise InvalidInput("query", f"at most {MOST_QUERY_BYTES} bytes", f"{len(request.url.query)} bytes")
    seen: set[str] = set()
    for name, value in request.query_params.multi_items():
        said = name if len(name) <= LONGEST_NAME and name.isprintable() else shorten(name)
        if name not in known:
            near = difflib.get_close_matches(name[:LONGEST_NAME], known, 1)
            expected = f"one of {', '.join(known)}" if known else "no parameter, as there is none here"
            raise InvalidInput(said, f"{expected} (did you mean {near[0]}?)" if near else expected, value)
        if name in seen:
            raise InvalidInput(said, "one value", request.query_params.getlist(name))
        seen.add(name)
