"""The HTTP application of the main backend's twin: ``POST /queue/{type}`` and ``…/many``, faults, and the control under
``/_twin/``. Source: docs/contracts/brusnika.md#queue.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapters.backend.twin.envelope import read_document
from adapters.backend.twin.faults import Fault, OwnWay
from adapters.backend.twin.store import BackendStore
from adapters.backend.twin.things import SINGLE_ONLY, TYPES, Refused, Things
from adapters.request_body import TooLarge, read_body
from adapters.twin_kit.control import BaseControl, control_error
from adapters.twin_kit.faults import Faults, fail
from adapters.twin_kit.hanging import Hanging

LIMIT_BYTES: Final = 100 * 1024
"""Express's limit of a body."""
EMPTY: Final = ("building",)
"""Types whose success has an empty body."""


class Control(BaseControl[Fault]):
    """The control of this twin."""

    fault = Fault

    def __init__(self, faults: Faults[Fault], store: BackendStore, requests: Counter[str]) -> None:
        super().__init__(faults)
        self._store, self._requests = store, requests
        self.routes.append(Route("/_twin/things/{type}", self.things, methods=["GET"]))

    def counts(self) -> dict[str, Any]:
        """Return the requests by path."""
        return {"requests": self._requests}

    def forget(self) -> None:
        """Empty the backend."""
        self._store.reset()

    async def things(self, request: Request) -> Response:
        """Answer all things of a type by their ids."""
        rows = self._store.rows("SELECT id, doc FROM things WHERE type = ? ORDER BY id", request.path_params["type"])
        return JSONResponse({row["id"]: json.loads(row["doc"]) for row in rows})


class TwinApp:
    """The ASGI application of one backend. ``key``: of encrypted bodies; None takes plain ones."""

    def __init__(self, store: BackendStore, faults: Faults[Fault], key: RSAPrivateKey | None) -> None:
        self._things, self._faults, self._key = Things(store), faults, key
        self._hanging = Hanging()
        self.end = self._hanging.end
        self.requests: Counter[str] = Counter()
        """Requests by path, those that fail among them."""
        routes = [
            *Control(faults, store, self.requests).routes,
            Route("/queue/{type}", self._endpoint(many=False), methods=["POST"]),
            Route("/queue/{type}/many", self._endpoint(many=True), methods=["POST"]),
        ]
        self.asgi = Starlette(routes=routes, exception_handlers={HTTPException: _http_error})

    def _endpoint(self, *, many: bool) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                return await self._answer(request, many)
            except ClientDisconnect:
                return Response()

        return endpoint

    async def _answer(self, request: Request, many: bool) -> Response:
        self.requests[request.url.path] += 1
        type = request.path_params["type"]
        if type not in TYPES or (many and type in SINGLE_ONLY):
            return _no_path(request)
        try:
            body = await read_body(request, LIMIT_BYTES)
        except TooLarge:
            return JSONResponse({"statusCode": 413, "message": "request entity too large"}, 413)
        fault = self._faults.draw(type)
        if fault is None:
            return self._take(type, body, many)
        match fault.kind:
            case OwnWay.NO_PATH:
                return _no_path(request)
            case OwnWay.REFUSED:
                return _refused(Refused(422, 422, "Validation failed"))
        return await fail(fault, self._hanging, lambda: self._take(type, body, many), _error)

    def _take(self, type: str, body: bytes, many: bool) -> Response:
        try:
            read = read_document(body, self._key)
        except ValueError:
            return _error(500)  # the original does not catch Node's error in decryption
        try:
            for thing in _list(read) if many else [read]:
                self._things.take(type, thing)
        except Refused as refused:
            return _refused(refused)
        return Response(status_code=201) if type in EMPTY else JSONResponse({"message": "SUCCESS"}, 201)


def _list(read: Any) -> list[Any]:
    found = read.get("data") if isinstance(read, dict) else None
    if not isinstance(found, list):
        raise Refused(422, 422, "Validation failed: data")
    return found


def _refused(refused: Refused) -> Response:
    return JSONResponse(refused.body(), refused.status)


def _no_path(request: Request) -> Response:
    message = f"Cannot {request.method} {request.url.path}"
    return JSONResponse({"message": message, "error": "Not Found", "statusCode": 404}, 404)


def _error(status: int) -> Response:
    return JSONResponse({"statusCode": status, "message": "Internal server error"}, status)


async def _http_error(request: Request, error: Exception) -> Response:
    if request.url.path.startswith("/_twin/"):
        return await control_error(request, error)
    return _no_path(request)
