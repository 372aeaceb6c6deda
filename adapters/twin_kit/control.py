"""The control of a twin over HTTP, under ``/_twin/``: counters, faults, and a reset of what it keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from adapters.twin_kit.bodies import read_json, valid
from adapters.twin_kit.faults import F, Faults


class BaseControl(ABC, Generic[F]):
    """Routes that each twin has; a twin adds its own to ``routes``. ``fault``: the twin's type of faults."""

    fault: ClassVar[Any]

    def __init__(self, faults: Faults[F]) -> None:
        self._faults = faults
        self.routes = [
            Route("/_twin/status", self.status, methods=["GET"]),
            Route("/_twin/faults", self.faults, methods=["GET", "POST", "DELETE"]),
            Route("/_twin/reset", self.reset, methods=["POST"]),
        ]

    @abstractmethod
    def counts(self) -> dict[str, Any]:
        """Return the counters since the start."""

    @abstractmethod
    def forget(self) -> None:
        """Empty the twin's state, so that it is as at its first start."""

    async def status(self, request: Request) -> Response:
        """Return the twin's counters, and how often each fault came."""
        return JSONResponse({**self.counts(), "faults_fired": dict(self._faults.fired)})

    async def faults(self, request: Request) -> Response:
        """Return the plan of faults; POST of one fault, a list, or ``[]`` sets it."""
        if request.method == "POST":
            body = await read_json(request)
            self._faults.plan(*valid(list[self.fault], body if isinstance(body, list) else [body]))  # type: ignore[name-defined]
        elif request.method == "DELETE":
            self._faults.plan()
        return JSONResponse(self._faults.as_list())

    async def reset(self, request: Request) -> Response:
        """Empty the state and the plan of faults. The body is ``{}``."""
        valid(dict[str, None], await read_json(request))
        self._faults.plan()
        self.forget()
        return JSONResponse({})


async def control_error(request: Request, error: Exception) -> Response:
    """Answer an error of the control in plain text."""
    assert isinstance(error, HTTPException)
    return PlainTextResponse(f"{error.detail}\n", error.status_code)
