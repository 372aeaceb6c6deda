"""The post's twin: some parcels at its counter; the last one has an address that it refuses."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

NOWHERE = "nowhere"


class PostTwin(Starlette):
    """An ASGI application."""

    def __init__(self, parcels: int) -> None:
        self._parcels, self._sent = parcels, dict[str, int]()
        super().__init__(routes=[Route("/parcels", self._list), Route("/sent", self._send, methods=["POST"])])

    async def _list(self, request: Request) -> Response:
        last = self._parcels - 1
        return JSONResponse(
            [{"id": f"p-{n}", "address": NOWHERE if n == last else f"Street {n}"} for n in range(self._parcels)]
        )

    async def _send(self, request: Request) -> Response:
        asked = await request.json()
        if asked["address"] == NOWHERE:
            return PlainTextResponse("no such address", 400)
        return JSONResponse({"number": self._sent.setdefault(asked["id"], 100 + len(self._sent))})
