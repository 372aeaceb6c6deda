"""Errors as answers: RFC 9457 `application/problem+json`, one form for all."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteHTTPException

from schemas.errors import CommandRejected, InvalidInput, KounterError, QueryTooLarge, shorten

MEDIA_TYPE: Final = "application/problem+json"
PARAMETER_HINT: Final = "Fix the named parameter; /docs lists them."
REFUSED: Final = 422
"""HTTP status of a refusal, unless a domain gives its code another one."""
LONGEST_PLACE: Final = 200
OF_UNION: Final = ("constrained-str", "str", "none")
"""Suffixes that pydantic adds to the name of a field that may be absent."""


class Problem(BaseModel):
    """An error."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    hint: str = ""


def install(app: FastAPI, statuses: Mapping[str, int]) -> None:
    """Answer every error of ``app`` in this form. ``statuses``: HTTP status by rejection code; 422 for all others."""

    @app.exception_handler(InvalidInput)
    async def invalid(request: Request, error: InvalidInput) -> JSONResponse:
        return answer(422, error.message, error.code, PARAMETER_HINT)

    @app.exception_handler(CommandRejected)
    async def rejected(request: Request, error: CommandRejected) -> JSONResponse:
        return answer(statuses.get(error.reason, REFUSED), error.message, error.reason, error.hint)

    @app.exception_handler(QueryTooLarge)
    async def too_large(request: Request, error: QueryTooLarge) -> JSONResponse:
        return answer(422, error.message, error.code, error.hint)  # not 503: a retry takes as long

    @app.exception_handler(KounterError)
    async def ours(request: Request, error: KounterError) -> JSONResponse:
        return answer(503, error.message, error.code, error.hint)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:] if part not in OF_UNION) or "body"
        if len(place) > LONGEST_PLACE:  # made of unknown names
            place = place[:LONGEST_PLACE] + "…"
        detail = f"{place}: {first['msg']}, came {shorten(first.get('input'))}"
        if first["type"] == "json_invalid":  # its place is a character's, its input is none
            detail = f"the body is no JSON: {first['ctx']['error']} (character {place})"
        return answer(422, detail, InvalidInput.code, PARAMETER_HINT)

    @app.exception_handler(StarletteHTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        code = _phrase(error.status_code).lower().replace(" ", "_")
        return answer(error.status_code, str(error.detail), code, headers=error.headers)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        return answer(500, "the gateway failed", "internal", "See the gateway's log.")


def answer(status: int, detail: str, code: str, hint: str = "", headers: Any = None) -> JSONResponse:
    """Returns the error as a response."""
    problem = Problem(title=_phrase(status), status=status, detail=detail, code=code, hint=hint)
    return JSONResponse(problem.model_dump(), status, headers, MEDIA_TYPE)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns the errors of a route, for its documentation."""
    content = {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}
    return {status: {"description": _phrase(status), "content": content} for status in statuses}


def not_found(topic: str, ext_id: str) -> HTTPException:
    """Returns a 404 error for an unknown thing."""
    return HTTPException(404, f"nothing is known of {topic} {shorten(ext_id)}")


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else "Error"
