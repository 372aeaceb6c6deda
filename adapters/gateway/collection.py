"""The routes of one aggregate: its list, one of its things, and what happened to it."""

from __future__ import annotations

from collections.abc import Callable
from types import GenericAlias
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from pydantic import create_model
from pydantic.json_schema import SkipJsonSchema

from adapters.gateway import problems
from adapters.gateway.resources import (
    ABSENT,
    Cursor,
    Reader,
    Resource,
    TimelineEntry,
    decode_cursor,
    encode_cursor,
)
from adapters.gateway.strict import StrictRoute
from adapters.gateway.tokens import READ, Tokens, guards, refusals
from schemas.errors import InvalidInput

OWN_PARAMETERS: Final = {"limit", "after", "order", "personal"}
AsOf = Annotated[
    str | SkipJsonSchema[None],
    Query(description="As it was then: a time (UTC unless it has a zone), or a span back such as -1h"),
]
Personal = Annotated[bool, Query(description="Show personal data")]


def collection_router(resource: Resource, reader: Reader, tokens: Tokens | None) -> APIRouter:
    """The three routes of a collection, which need the scope `READ`."""
    router = APIRouter(
        prefix=resource.path,
        tags=[resource.topic.partition(".")[0]],
        dependencies=guards(tokens, READ),
        route_class=StrictRoute,
    )
    one, many = resource.names
    options: dict[str, Any] = {"response_model_exclude_none": True, "description": resource.summary}
    errors = problems.responses(422, *refusals(tokens))
    router.get(
        "",
        response_model=_page_model(resource),
        operation_id=f"list_{many}",
        summary=f"List of {resource.model.__name__}, filtered by any field",
        openapi_extra={"parameters": _filter_parameters(resource)},
        responses=errors,
        **options,
    )(_finds(resource, reader))
    options["responses"] = errors | problems.responses(404, 503)
    router.get(
        "/{ext_id:path}/timeline",
        response_model=list[TimelineEntry],
        operation_id=f"get_{one}_timeline",
        summary="What happened to it",
        **options,
    )(_shows_timeline(resource, reader))
    router.get(
        "/{ext_id:path}",
        response_model=resource.model,
        operation_id=f"get_{one}",
        summary="One, as it is known now or was at a time",
        **options,
    )(_gets(resource, reader))
    return router


def _finds(resource: Resource, reader: Reader) -> Callable[..., Any]:
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

    return find


def _gets(resource: Resource, reader: Reader) -> Callable[..., Any]:
    async def get(ext_id: str, as_of: AsOf = None, personal: Personal = False) -> Any:
        found = await reader.get(resource.topic, ext_id, personal=personal, as_of=as_of)
        if found is None:
            raise problems.not_found(resource.topic, ext_id)
        return found

    return get


def _shows_timeline(resource: Resource, reader: Reader) -> Callable[..., Any]:
    async def timeline(ext_id: str, as_of: AsOf = None, personal: Personal = False) -> list[dict[str, Any]]:
        entries = await reader.timeline(resource.topic, ext_id, personal=personal, as_of=as_of)
        if not entries:
            raise problems.not_found(resource.topic, ext_id)
        return entries

    return timeline


def _page_model(resource: Resource) -> Any:
    rows: Any = GenericAlias(list, (resource.model,))
    return create_model(f"{resource.model.__name__}List", items=(rows, ...), next=(str | ABSENT, None))


def _filter_parameters(resource: Resource) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "required": False, "schema": schema} for name, schema in resource.filters.items()
    ]
