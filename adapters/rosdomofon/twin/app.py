"""The twin's HTTP application: tokens, faults, answers, and the control under ``/_twin/``
(docs/contracts/rosdomofon.md#authorization)."""

from __future__ import annotations

import hmac
import json
import secrets
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapters.request_body import TooLarge, read_body
from adapters.rosdomofon.twin.control import Control
from adapters.rosdomofon.twin.faults import Fault, OwnWay
from adapters.rosdomofon.twin.operator import Operator, OperatorError
from adapters.rosdomofon.twin.rest import V1, V2, Call, Rest
from adapters.twin_kit.bodies import MAX_BYTES
from adapters.twin_kit.control import control_error
from adapters.twin_kit.faults import Faults, fail
from adapters.twin_kit.hanging import Hanging

OAUTH: Final = "/authserver-service/oauth/token"
CLIENT_ID: Final = "machine"


class Tokens:
    """Valid tokens. ``uses``: number of requests that each new one is valid for, None without end."""

    def __init__(self) -> None:
        self.uses: int | None = None
        self._left: dict[str, int | None] = {}
        self.given = 0
        """Number of tokens issued since the start."""

    def give(self) -> str:
        """Issue a new token."""
        token = secrets.token_urlsafe(24)
        self._left[token] = self.uses
        self.given += 1
        return token

    def take(self, token: str) -> bool:
        """Count one use of a token. Returns whether it was valid."""
        left = self._left.get(token, 0)
        if left is not None:
            if left <= 0:
                self._left.pop(token, None)
                return False
            self._left[token] = left - 1
        return True

    def expire(self) -> None:
        """Invalidate all tokens."""
        self._left.clear()


class TwinApp:
    """The ASGI application of an operator. ``username`` and ``password``: the account of its one company."""

    def __init__(self, operator: Operator, faults: Faults[Fault], username: str, password: str) -> None:
        self._operator, self._faults = operator, faults
        self._username, self._password = username, password
        self._hanging = Hanging()
        self.end = self._hanging.end
        self.tokens = Tokens()
        self.requests: Counter[str] = Counter()
        """Requests by call, such as ``POST /messages``, including those with an invalid token."""
        rest = Rest(operator)
        self.control = Control(operator, faults, self.tokens, self.requests)
        routes = [Route(OAUTH, self.oauth, methods=["POST"]), *self.control.routes]
        routes += [Route(path, self._endpoint(path, act), methods=[verb]) for (verb, path), act in rest.routes.items()]
        self.asgi = Starlette(routes=routes, exception_handlers={HTTPException: _http_error})

    async def oauth(self, request: Request) -> Response:
        """Answer a request for a token. Raises OperatorError 413 for a body that is too large."""
        self.requests["POST oauth/token"] += 1
        fault = self._faults.draw("POST oauth/token")
        if fault is not None and fault.kind != OwnWay.TOKEN_EXPIRED:
            return await self._failing(fault, request, self._token)
        form = dict(parse_qsl((await _body(request)).decode("utf-8", "replace")))
        if form.get("grant_type") != "password" or form.get("client_id") != CLIENT_ID:
            return JSONResponse({"error": "unsupported_grant_type", "error_description": "not known"}, 400)
        name, password = form.get("username", ""), form.get("password", "")
        if not (_same(name, self._username) and _same(password, self._password)):
            return JSONResponse({"error": "invalid_grant", "error_description": "Bad credentials"}, 400)
        return JSONResponse(self._token())

    def _token(self) -> dict[str, Any]:
        token = self.tokens.give()
        return {"access_token": token, "token_type": "bearer", "expires_in": 3600, "scope": "read write"}

    def _endpoint(self, path: str, act: Callable[[Call], Any]) -> Callable[[Request], Any]:
        name = path.removeprefix(V1).removeprefix(V2).replace(":int", "")

        async def endpoint(request: Request) -> Response:
            try:
                return await self._answer(f"{request.method} {name}", request, act)
            except OperatorError as error:
                return _error(request, error.status, error.message)
            except OverflowError:
                return _error(request, 404, "the id is too large")
            except ClientDisconnect:
                return Response()

        return endpoint

    async def _answer(self, call: str, request: Request, act: Callable[[Call], Any]) -> Response:
        self.requests[call] += 1
        body = await _body(request)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not self.tokens.take(token):
            return _denied()
        try:
            read = json.loads(body) if body.strip() else None
        except (ValueError, RecursionError):
            return _error(request, 400, "the body is not JSON")
        parsed = Call(dict(request.path_params), dict(request.query_params), read)
        fault = self._faults.draw(call)
        if fault is None:
            return _ok(act(parsed))
        return await self._failing(fault, request, lambda: act(parsed), read)

    async def _failing(self, fault: Fault, request: Request, act: Callable[[], Any], body: Any = None) -> Response:
        match fault.kind:
            case OwnWay.TOKEN_EXPIRED:
                self.tokens.expire()
                return _denied()
            case OwnWay.DENIED:
                return _denied()
            case OwnWay.NOT_DELIVERED:
                addressees = body.get("toAbonents", []) if isinstance(body, dict) else []
                return JSONResponse([{"id": a["id"], "success": False, "result": "no push token"} for a in addressees])
        return await fail(
            fault, self._hanging, lambda: _ok(act()), lambda status: _error(request, status, "unexpected")
        )


def _ok(result: Any) -> Response:
    return Response() if result is None else JSONResponse(result)


def _denied() -> Response:
    return JSONResponse({"error": "invalid_token", "error_description": "Invalid access token"}, 401)


def _error(request: Request, status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    body = {
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "status": status,
        "error": HTTPStatus(status).phrase,
        "message": message,
        "path": request.url.path,
    }
    return JSONResponse(body, status, headers)


def _same(came: str, known: str) -> bool:
    return hmac.compare_digest(came.encode("utf-8", "replace"), known.encode())


async def _body(request: Request) -> bytes:
    try:
        return await read_body(request, MAX_BYTES)
    except TooLarge:
        raise OperatorError(413, "the body is too large") from None


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if request.url.path.startswith("/_twin/"):
        return await control_error(request, error)
    return _error(request, error.status_code, str(error.detail))
