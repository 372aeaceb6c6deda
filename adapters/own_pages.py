"""The guard of a service without a token against requests that a browser makes for another site's page."""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class OwnPages:
    """Refuses what a browser asks for on behalf of another site's page, where there is no secret that the page lacks.

    A link to one of ``pages`` may be anywhere; nothing may be changed there.
    """

    def __init__(self, app: ASGIApp, pages: Collection[str] = ("/",)) -> None:
        self._app, self._pages = app, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        guarded = scope["type"] == "http" and scope["path"] not in self._pages
        asks = guarded and Headers(scope=scope).get("sec-fetch-site")
        refused = PlainTextResponse("not for pages of other sites\n", 403)
        await (refused if asks in ("cross-site", "same-site") else self._app)(scope, receive, send)
