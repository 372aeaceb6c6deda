"""The HTTP application: health, documentation, and a collection for every aggregate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import RedirectResponse
from fastapi_offline import FastAPIOffline
from starlette.middleware.trustedhost import TrustedHostMiddleware

from adapters.loopback import LOOPBACK_NAMES
from adapters.own_pages import OwnPages
from kounter.gateway import problems
from kounter.gateway.collection import collection_router
from kounter.gateway.resources import Health, Reader, Resource
from kounter.gateway.strict import StrictRoute
from kounter.gateway.tokens import Tokens
from kounter.gateway.users import Users, users_router


def create_app(
    resources: Sequence[Resource],
    reader: Reader,
    tokens: Tokens | None = None,
    users: Users | None = None,
    statuses: Mapping[str, int] = MappingProxyType({}),
    queue: APIRouter | None = None,
) -> FastAPI:
    """Returns the application. With ``tokens``, every request for data must bear one with the route's scope; without,
    it answers only to loopback names, as any web page could read it through its own name that resolves to loopback, and
    not to pages of other sites, which could write without reading the answer. ``statuses``: HTTP status by rejection
    code, where it is not 422. ``queue``: the routes of pushed changes."""
    app = FastAPIOffline(
        title="Kounter",
        description="What is known, by aggregate, and the users service. Lists and lookups are answered by the view; "
        "they go on while workers rebalance. What is to be changed is answered once it is committed and can be read.",
        version="1",
    )
    app.router.route_class = StrictRoute
    problems.install(app, statuses)
    if tokens is None:
        app.add_middleware(OwnPages, pages=("/", "/docs", "/redoc"))
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=LOOPBACK_NAMES)

    @app.get("/", include_in_schema=False)
    async def start() -> RedirectResponse:
        """Redirects to the documentation: `kounter up` shows this address."""
        return RedirectResponse("/docs")

    app.include_router(_health_router(reader))
    if users is not None:
        app.include_router(users_router(users, reader, tokens))
    if queue is not None:
        app.include_router(queue)
    for resource in resources:
        app.include_router(collection_router(resource, reader, tokens))
    return app


def _health_router(reader: Reader) -> APIRouter:
    """Returns the routes of health, which need no token."""
    router = APIRouter(prefix="/api/health", tags=["health"], route_class=StrictRoute)
    unready: dict[int | str, dict[str, Any]] = {503: {"model": Health, "description": "Something is not ready"}}

    @router.get("", operation_id="health", summary="Live, and ready: assigned, recovered, progressing")
    async def health() -> Health:
        return await reader.health()

    @router.get("/live", operation_id="health_live", summary="200 while the process answers")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @router.get("/ready", operation_id="health_ready", summary="200 when all is ready, else 503", responses=unready)
    async def ready(response: Response) -> Health:
        found = await reader.health()
        response.status_code = 200 if found.ready else 503
        return found

    return router
