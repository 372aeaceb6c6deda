"""The HTTP application: health, documentation, and a collection for every aggregate."""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Sequence
from types import GenericAlias
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response, Security
from fastapi.responses import RedirectResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel, SecretStr, create_model
from pydantic.json_schema import SkipJsonSchema
from starlette.middleware.trustedhost import TrustedHostMiddleware

from adapters.gateway import problems
from adapters.gateway.resources import (
    ABSENT,
    Cursor,
    Health,
    Reader,
    Resource,
    TimelineEntry,
    decode_cursor,
    encode_cursor,
)
from adapters.gateway.strict import StrictRoute
from adapters.gateway.users import Users, users_router
from adapters.serving import LOOPBACK_NAMES, OwnPages
from schemas.errors import BrokenSetup, InvalidInput

OWN_PARAMETERS: Final = {"limit", "after", "order", "personal"}
AsOf = Annotated[
    str | SkipJsonSchema[None],
    Query(description="As it was then: a time (UTC unless it has a zone), or a span back such as -1h"),
]
Personal = Annotated[bool, Query(description="Show personal data")]
PORT: Final = re.compile("[0-9]{1,5}")
NO_TOKEN: Final = SecretStr("")
BEARER: Final = HTTPBearer(auto_error=False)


class GatewaySettings(BaseModel):
    """Where the gateway listens."""

    listen: tuple[str, ...] = ("127.0.0.1:7070", "127.0.0.1:3000")
    """``host:port``; beyond loopback a token is needed. Port 3000 is where the original users service is
    (docs/contracts/core-users.md); of the default addresses only the first must be free."""
    token: SecretStr = SecretStr("")
    """Bearer token of all requests for data; empty: none is asked for."""


def check_exposure(settings: GatewaySettings) -> None:
    """Raise BrokenSetup if the gateway would be open to others without a token, or an address makes no sense."""
    for address in settings.listen:
        host, _, port = address.rpartition(":")
        if not host or not PORT.fullmatch(port) or int(port) > 65_535:
            raise BrokenSetup(f"KOUNTER_GATEWAY__LISTEN: {address!r} is not host:port")
        if not _is_loopback(host) and not settings.token.get_secret_value():
            raise BrokenSetup(
                f"the gateway would listen on {address} without authentication",
                hint="Set KOUNTER_GATEWAY__TOKEN, or listen on 127.0.0.1.",
            )


def create_app(
    resources: Sequence[Resource], reader: Reader, token: SecretStr = NO_TOKEN, users: Users | None = None
) -> FastAPI:
    """The application. With a token, every request for data must bear it; without one it answers only to loopback
    names, or any web page could read it through a name that it lets point here, and to no other site's page, which
    could write without reading the answer."""
    app = FastAPIOffline(
        title="Kounter",
        description="What is known, by aggregate, and the users service. Lists and lookups are answered by the view; "
        "they go on while workers rebalance. What is to be changed is answered once it is committed and can be read.",
        version="1",
    )
    app.router.route_class = StrictRoute
    problems.install(app)
    if not token.get_secret_value():
        app.add_middleware(OwnPages, pages=("/", "/docs", "/redoc"))
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=LOOPBACK_NAMES)
    guards = [Depends(_guard(token))] if token.get_secret_value() else []

    @app.get("/", include_in_schema=False)
    async def start() -> RedirectResponse:
        """`kounter up` shows this address: whoever opens it wants to see what there is."""
        return RedirectResponse("/docs")

    @app.get(
        "/api/health",
        tags=["health"],
        operation_id="health",
        summary="Live, and ready: assigned, recovered, progressing",
    )
    async def health() -> Health:
        return await reader.health()

    @app.get("/api/health/live", tags=["health"], operation_id="health_live", summary="200 while the process answers")
    async def live() -> dict[str, bool]:
        return {"live": True}

    unready: dict[int | str, dict[str, Any]] = {503: {"model": Health, "description": "Something is not ready"}}

    @app.get(
        "/api/health/ready",
        tags=["health"],
        operation_id="health_ready",
        summary="200 when all is ready, else 503",
        responses=unready,
    )
    async def ready(response: Response) -> Health:
        found = await reader.health()
        response.status_code = 200 if found.ready else 503
        return found

    if users is not None:
        app.include_router(users_router(users, reader, guards))
    for resource in resources:
        _add(app, resource, reader, guards)
    return app


def _add(app: FastAPI, resource: Resource, reader: Reader, guards: list[Any]) -> None:
    """Routes of one collection."""
    tag = resource.topic.partition(".")[0]
    rows: Any = GenericAlias(list, (resource.model,))
    page = create_model(f"{resource.model.__name__}List", items=(rows, ...), next=(str | ABSENT, None))
    by: Any = Query("ext_id", description="- for downwards", json_schema_extra={"enum": list(resource.orders)})

    async def find(
        request: Request,
        response: Response,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        after: Annotated[Cursor, Query(description="`next` of the answer before")] = None,
        order: str = by,
        personal: Personal = False,
    ) -> Any:
        if order not in resource.orders:
            raise InvalidInput("order", f"one of {', '.join(resource.orders)}", order)
        filters = {name: text for name, text in request.query_params.items() if name not in OWN_PARAMETERS}
        place = decode_cursor(after, order) if after else None
        rows, last = await reader.find(
            resource.topic, filters, limit=limit, after=place, order=order, personal=personal
        )
        cursor = None if last is None else encode_cursor(order, last)
        if cursor:
            query = urlencode({**dict(request.query_params), "after": cursor})
            response.headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'
        return {"items": rows, "next": cursor}

    async def timeline(ext_id: str, as_of: AsOf = None, personal: Personal = False) -> list[dict[str, Any]]:
        entries = await reader.timeline(resource.topic, ext_id, personal=personal, as_of=as_of)
        if not entries:
            raise problems.not_found(resource.topic, ext_id)
        return entries

    async def get(ext_id: str, as_of: AsOf = None, personal: Personal = False) -> Any:
        found = await reader.get(resource.topic, ext_id, personal=personal, as_of=as_of)
        if found is None:
            raise problems.not_found(resource.topic, ext_id)
        return found

    errors = problems.responses(422, *([401] if guards else []))
    missing = errors | problems.responses(404, 503)
    (one, many), at = resource.names, resource.path + "/{ext_id:path}"
    options: dict[str, Any] = {"tags": [tag], "dependencies": guards, "response_model_exclude_none": True}
    options["description"] = resource.summary
    app.get(
        resource.path,
        response_model=page,
        operation_id=f"list_{many}",
        summary=f"List of {resource.model.__name__}, filtered by any field",
        openapi_extra={"parameters": _filter_parameters(resource)},
        responses=errors,
        **options,
    )(find)
    app.get(
        at + "/timeline",
        response_model=list[TimelineEntry],
        operation_id=f"get_{one}_timeline",
        summary="What happened to it",
        responses=missing,
        **options,
    )(timeline)
    app.get(
        at,
        response_model=resource.model,
        operation_id=f"get_{one}",
        summary="One, as it is known now or was at a time",
        responses=missing,
        **options,
    )(get)


def _filter_parameters(resource: Resource) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "required": False, "schema": schema} for name, schema in resource.filters.items()
    ]


def _guard(token: SecretStr) -> Any:
    """Asks for the token; its own form in the documentation too."""
    wanted = token.get_secret_value().encode()

    async def check(given: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)]) -> None:
        sent = b"" if given is None else given.credentials.encode("latin-1")  # the bytes that came
        if not hmac.compare_digest(sent, wanted):
            raise HTTPException(401, "a bearer token is needed", {"WWW-Authenticate": "Bearer"})

    return check


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
