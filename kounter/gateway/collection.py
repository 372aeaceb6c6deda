"""The routes of one aggregate: its list, one of its things, and a thing's timeline."""

from __future__ import annotations

from collections.abc import Callable
from types import GenericAlias
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from pydantic import create_model
from pydantic.json_schema import SkipJsonSchema

from kounter.gateway import problems
from kounter.gateway.resources import (
    ABSENT,
    Cursor,
    Reader,
    Resource,
    TimelineEntry,
    decode_cursor,
    encode_cursor,
)
from kounter.gateway.strict import StrictRoute
from kounter.gateway.tags import DOCUMENTED, IfNoneMatch, headers_of, known_by, not_modified
from kounter.gateway.tokens import READ, Tokens, guards, refusals
from schemas.errors import InvalidInput
from tables.view_find import PageRequest

OWN_PARAMETERS: Final = {"limit", "after", "skip", "count", "order", "personal", "q"}
MOST_SKIPPED: Final = 1_000_000
"""Rows that a request may skip, as SQLite reads them all. For more, use the cursor."""
SEARCH: Final[dict[str, Any]] = {"type": "string", "minLength": 1, "maxLength": 200}
SEARCHED: Final = "Words or parts of words, in any letter case, that must all stand in one of"
Limit = Annotated[int, Query(ge=1, le=500, description="Rows of a page")]
After = Annotated[Cursor, Query(description="`next` of the answer before")]
Skip = Annotated[int, Query(ge=0, le=MOST_SKIPPED, description="Rows left out at the beginning; not beside `after`")]
Count = Annotated[bool, Query(description="Say in `total` how many there are, on all pages together")]
AsOf = Annotated[
    str | SkipJsonSchema[None],
    Query(description="As it was then: a time (UTC unless it has a zone), or a span back such as -1h"),
]
Personal = Annotated[bool, Query(description="Show personal data")]


def collection_router(resource: Resource, reader: Reader, tokens: Tokens | None) -> APIRouter:
    """Returns the three routes of a collection, which need the scope `READ`."""
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
        responses=errors | DOCUMENTED,
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
        **options | {"responses": options["responses"] | DOCUMENTED},
    )(_gets(resource, reader))
    return router


def _finds(resource: Resource, reader: Reader) -> Callable[..., Any]:
    by: Any = Query("ext_id", description="- for downwards", json_schema_extra={"enum": list(resource.orders)})

    async def find(
        request: Request,
        response: Response,
        limit: Limit = 50,
        after: After = None,
        skip: Skip = 0,
        count: Count = False,
        order: str = by,
        personal: Personal = False,
        if_none_match: IfNoneMatch = None,
    ) -> Any:
        if order not in resource.orders:
            raise InvalidInput("order", f"one of {', '.join(resource.orders)}", order)
        given = dict(request.query_params)
        filters = {name: text for name, text in given.items() if name not in OWN_PARAMETERS}
        place = place_of(after, order, skip)
        page = PageRequest(search=given.get("q"), order=order, after=place, skip=skip, limit=limit, count=count)
        known = known_by(if_none_match)
        found = await reader.find(resource.topic, filters, page, personal=personal, known=known)
        if found.is_known:
            return not_modified(found.tag)
        response.headers.update(headers_of(found.tag))
        cursor = None if found.after is None else encode_cursor(order, found.after)
        if cursor:
            following = {**given, "after": cursor}
            following.pop("skip", None)  # the cursor is behind the skipped rows
            response.headers["Link"] = f'<{request.url.path}?{urlencode(following)}>; rel="next"'
        return {"items": found.rows, "next": cursor, "total": found.total}

    return find


def place_of(after: str | None, order: str, skip: int) -> list[Any] | None:
    """Returns the place in a cursor, None without one. Raises InvalidInput for an invalid one, or for one beside
    ``skip``."""
    if after and skip:
        raise InvalidInput("skip", "0 beside after, which says itself where the page begins", skip)
    return decode_cursor(after, order) if after else None


def _gets(resource: Resource, reader: Reader) -> Callable[..., Any]:
    fields = len(resource.model.model_fields)  # a later version may show more of the same state

    async def get(
        response: Response,
        ext_id: str,
        as_of: AsOf = None,
        personal: Personal = False,
        if_none_match: IfNoneMatch = None,
    ) -> Any:
        found = await reader.get(resource.topic, ext_id, personal=personal, as_of=as_of)
        if found is None:
            raise problems.not_found(resource.topic, ext_id)
        # The time, too: a thing that is deleted and comes again counts its versions from 1.
        tag = f"{fields}-{found['version']}-{found['changed_at']}"
        if known_by(if_none_match)(tag):
            return not_modified(tag)
        response.headers.update(headers_of(tag))
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
    name = f"{resource.model.__name__}List"
    return create_model(name, items=(rows, ...), next=(str | ABSENT, None), total=(int | ABSENT, None))


def _filter_parameters(resource: Resource) -> list[dict[str, Any]]:
    """Returns the documented parameters: one per field, two per range, and the text search."""
    found = [_parameter(name, schema, resource.notes.get(name, "")) for name, schema in resource.filters.items()]
    for name, schema in resource.ranges.items():
        found += [_parameter(f"{name}_from", schema, f"The least {name}, included")]
        found += [_parameter(f"{name}_to", schema, f"The greatest {name}, included")]
    if resource.search:
        found.append(_parameter("q", SEARCH, f"{SEARCHED}: {', '.join(resource.search)}"))
    return found


def _parameter(name: str, schema: dict[str, Any], description: str = "") -> dict[str, Any]:
    said: dict[str, Any] = {"description": description} if description else {}
    if schema.get("type") == "array":
        said |= {"style": "form", "explode": False}  # one parameter, with commas between the values
    return {"name": name, "in": "query", "required": False, "schema": schema, **said}
