"""The twin over HTTP: authorization, limits, faults, and answers (docs/contracts/bitrix24.md#calls)."""

from __future__ import annotations

import hmac
from collections import Counter
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from adapters.bitrix24.twin.control import Control
from adapters.bitrix24.twin.errors import SYSTEM, RestError, system_error
from adapters.bitrix24.twin.faults import Fault
from adapters.bitrix24.twin.portal import Portal
from adapters.bitrix24.twin.requests import read_params
from adapters.twin_kit.control import control_error
from adapters.twin_kit.faults import Faults, fail
from adapters.twin_kit.hanging import Hanging


class TwinApp:
    """An ASGI application around a portal. ``user`` and ``code`` are those of its one incoming webhook."""

    def __init__(self, portal: Portal, faults: Faults[Fault], user: int, code: str) -> None:
        self._portal, self._faults = portal, faults
        self._user, self._code = str(user), code
        self._hanging = Hanging()
        self.end = self._hanging.end
        self.requests: Counter[str] = Counter()
        """Number of requests by method; a batch counts as one."""
        control = Control(portal, faults, self.requests)
        routes = [Route("/rest/{path:path}", self.rest, methods=["GET", "POST"]), *control.routes]
        self.asgi = Starlette(routes=routes, exception_handlers={HTTPException: control_error})

    async def rest(self, request: Request) -> Response:
        """Answer one REST request, or fail as the faults demand."""
        method = ""
        try:
            method = self._method(request.path_params["path"])
            self.requests[method] += 1
            params = await read_params(request)
            if not self._portal.gate.let_in(request.client.host if request.client else ""):
                raise system_error("QUERY_LIMIT_EXCEEDED")
            fault = self._faults.draw(method, *(_inner_methods(params) if method == "batch" else ()))
            if fault is None:
                return JSONResponse(self._portal.call(method, params))
            return await self._failing(fault, method, params)
        except RestError as error:
            body: dict[str, Any] = error.body()
            if error.status == 429:
                body["time"] = self._portal.refused_time(method)
            return JSONResponse(body, error.status)
        except ClientDisconnect:
            return Response()

    def _method(self, path: str) -> str:
        """Return the method's name. Raises RestError if the path does not hold the webhook's user and code."""
        user, _, rest = path.partition("/")
        code, _, method = rest.partition("/")
        if not method or not user.isdecimal():
            raise system_error("NO_AUTH_FOUND")
        if not (user == self._user and hmac.compare_digest(code.encode(), self._code.encode())):
            raise system_error("INVALID_CREDENTIALS")
        return method.rstrip("/").lower().removesuffix(".json").removesuffix(".xml")

    async def _failing(self, fault: Fault, method: str, params: dict[str, Any]) -> Response:
        if fault.kind in SYSTEM:
            raise system_error(fault.kind)
        return await fail(fault, self._hanging, lambda: JSONResponse(self._portal.call(method, params)), _broken)


def _broken(status: int) -> Response:
    """Make the portal's own error, or that of a server before it."""
    if status == 500:
        return JSONResponse(system_error("INTERNAL_SERVER_ERROR").body(), 500)
    return HTMLResponse(f"<html><body>{status}</body></html>", status)


def _inner_methods(params: dict[str, Any]) -> set[str]:
    commands = params.get("cmd")
    values = commands.values() if isinstance(commands, dict) else commands if isinstance(commands, list) else ()
    return {str(command).partition("?")[0].strip().lower() for command in values}
