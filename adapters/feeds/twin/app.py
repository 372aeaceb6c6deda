"""The twin's application: ``/feed/<name>/`` with ETag and gzip, and the control."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from hashlib import sha256
from typing import Any, ClassVar, Final, NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route
from starlette.types import ASGIApp

from adapters.feeds.twin.developer import Developer
from adapters.feeds.twin.faults import Fault, OwnWay
from adapters.feeds.twin.formats import RENDERED, TYPES, objects
from adapters.twin_kit.control import BaseControl, control_error
from adapters.twin_kit.faults import Faults, Way, fail
from adapters.twin_kit.hanging import Hanging

PAGE: Final = 100
"""Objects on a page of a list."""
FALLS_EVERY: Final = 5
"""Versions of the company of which the feed ``falling`` has one without offers."""
_NOT_FOUND: Final = "<!DOCTYPE html>\n<html><head><title>404</title></head><body>Страница не найдена</body></html>"


class Feed(NamedTuple):
    """A feed: its format, and the fault that it always has."""

    format: str
    fault: str = ""


FEEDS: Final[dict[str, Feed]] = {
    "yandex": Feed("yrl"),
    "cian": Feed("cian"),
    "mixed": Feed("cian-in-yrl"),
    "avito": Feed("avito"),
    **{kind: Feed(kind) for kind in TYPES},
    "pantry": Feed("yrl", Way.NOT_JSON),
    "falling": Feed("yrl"),
    "slow": Feed("yrl", OwnWay.DRIP),
    "down": Feed("yrl", Way.UNAVAILABLE),
}


class Control(BaseControl[Fault]):
    """The routes of every twin, and ``POST /_twin/tick``."""

    fault: ClassVar[Any] = Fault

    def __init__(self, faults: Faults[Fault], developer: Developer) -> None:
        super().__init__(faults)
        self._developer = developer
        self.requests = self.bodies = 0
        self.routes.append(Route("/_twin/tick", self.tick, methods=["POST"]))

    def counts(self) -> dict[str, Any]:
        """Return requests, bodies that were sent, and the company's version."""
        return {"requests": self.requests, "bodies": self.bodies, "version": self._developer.version}

    def forget(self) -> None:
        """Set the company as it was at the first start."""
        self._developer.begin()
        self.requests = self.bodies = 0

    async def tick(self, request: Request) -> Response:
        """Change the company a little."""
        self._developer.tick()
        return JSONResponse(self.counts())


class FeedsApp:
    """The application of the twin."""

    def __init__(self, developer: Developer, faults: Faults[Fault]) -> None:
        self._developer, self._faults, self._hanging = developer, faults, Hanging()
        self.control = Control(faults, developer)
        routes = [*self.control.routes, Route("/feed/{name}/", self._serve, methods=["GET"])]
        self._asgi = Starlette(routes=routes, exception_handlers={HTTPException: control_error})

    @property
    def asgi(self) -> ASGIApp:
        """Return the application."""
        return self._asgi

    @property
    def end(self) -> Callable[[], None]:
        """Return the function that lets hanging requests go."""
        return self._hanging.end

    async def _serve(self, request: Request) -> Response:
        name = request.path_params["name"]
        feed = FEEDS.get(name)
        if feed is None:
            return PlainTextResponse("no such feed\n", 404)
        self.control.requests += 1
        fault = self._faults.draw(name) or (Fault(kind=feed.fault) if feed.fault else None)
        if name == "falling" and self._developer.version % FALLS_EVERY == 0:
            fault = Fault(kind=OwnWay.EMPTY)
        return self._answer(request, feed) if fault is None else await self._failing(fault, request, feed)

    def _answer(self, request: Request, feed: Feed, *, is_empty: bool = False) -> Response:
        body = self._page(request, feed.format) if feed.format in TYPES else self._file(feed.format, is_empty)
        etag = f'"{sha256(body).hexdigest()[:20]}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={"ETag": etag})
        self.control.bodies += 1
        headers = {"ETag": etag}
        if "gzip" in request.headers.get("accept-encoding", ""):
            body, headers["Content-Encoding"] = gzip.compress(body, 6, mtime=0), "gzip"
        kind = "application/json" if feed.format in TYPES else "application/xml"
        return Response(body, headers=headers, media_type=kind)

    def _file(self, format: str, is_empty: bool) -> bytes:
        return RENDERED[format]([] if is_empty else self._developer.flats)

    def _page(self, request: Request, kind: str) -> bytes:
        found = objects(kind, self._developer.flats)
        said = request.query_params.get("page", "1")
        page = int(said) if said.isascii() and said.isdecimal() and len(said) < 6 else 1
        following = f"?page={page + 1}" if page * PAGE < len(found) else None
        word = {"cities": "city"}.get(kind, kind.removesuffix("s"))
        data = {"type": word, "data": found[(page - 1) * PAGE : page * PAGE], "next": following}
        return json.dumps({"data": data, "error": None}, ensure_ascii=False).encode()

    async def _failing(self, fault: Fault, request: Request, feed: Feed) -> Response:
        match fault.kind:
            case Way.NOT_JSON:
                return HTMLResponse(_NOT_FOUND)
            case OwnWay.EMPTY:
                return self._answer(request, feed, is_empty=True)
            case OwnWay.TRUNCATED:
                whole = self._file(feed.format, False) if feed.format in RENDERED else self._page(request, feed.format)
                return Response(whole[: len(whole) // 2], media_type="application/xml")
            case OwnWay.DRIP:
                return StreamingResponse(self._drip(self._file("yrl", False)), media_type="application/xml")
            case OwnWay.CIRCLE:
                return RedirectResponse(str(request.url), 302)
        answer, error = partial(self._answer, request, feed), partial(Response, None)
        return await fail(fault, self._hanging, answer, error)

    async def _drip(self, body: bytes) -> AsyncIterator[bytes]:
        for byte in body:
            yield bytes([byte])
            await asyncio.wait_for(self._hanging.wait(1.0), 2.0)
