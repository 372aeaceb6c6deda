"""``/users``: the Core users service, as its own clients call it (docs/contracts/core-users.md#http-api)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Protocol

from fastapi import APIRouter, Header, Path, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.json_schema import SkipJsonSchema

from kounter.gateway import problems
from kounter.gateway.bodies import BodyRoute
from kounter.gateway.collection import SEARCHED, After, Count, Limit, Skip, place_of
from kounter.gateway.resources import Document, Reader, encode_cursor
from kounter.gateway.tokens import READ, WRITE_USERS, Tokens, guards, refusals
from tables.view_find import PageRequest

TOPIC: Final = "crm.user"
ORDER: Final = "user_id"
UserId = Annotated[int, Path(ge=1, lt=2**63)]
Short = Annotated[str, StringConstraints(max_length=1_000)]
Text = Annotated[str, StringConstraints(max_length=255)] | SkipJsonSchema[None]
Key = Annotated[
    Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")] | SkipJsonSchema[None],
    Header(
        alias="Idempotency-Key",
        description="The same key and body give the same answer, and the operation is carried out once.",
    ),
]


class Users(Protocol):
    """Port that carries out the operations. Each raises CommandRejected and CommandUnanswered."""

    async def add(self, fields: Mapping[str, str | None], key: str | None) -> Document: ...

    async def change(self, user_id: int, fields: Mapping[str, str | None], key: str | None) -> Document: ...

    async def move(self, user_id: int, stage: str, key: str | None) -> Document: ...


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewUser(_Body):
    """A new user. The rules refuse missing fields, with the texts of docs/contracts/core-users.md#http-api."""

    model_config = ConfigDict(json_schema_extra={"required": ["full_name", "phone", "stage"]})

    full_name: Short | SkipJsonSchema[None] = None
    phone: Short | SkipJsonSchema[None] = Field(default=None, examples=["+77001112233"])
    stage: Short | SkipJsonSchema[None] = Field(default=None, examples=["NEW"])


class ChangedUser(_Body):
    """Changes of a user. A field that is absent or null stays."""

    full_name: Short | None = None
    phone: Short | None = Field(default=None, examples=["+77001112233"])
    stage: Short | None = Field(default=None, examples=["NEW"])


class Stage(_Body):
    stage: Short = Field(examples=["CONVERTED"])


class ServiceUser(BaseModel):
    """The answer of docs/contracts/core-users.md#http-api."""

    id: int
    full_name: str
    phone: str
    stage: str


class KnownUser(ServiceUser):
    """A user with the outcome of its card."""

    bitrix_lead_id: int | SkipJsonSchema[None] = None
    bitrix_outcome: str | SkipJsonSchema[None] = None
    bitrix_reason: str | SkipJsonSchema[None] = None
    portal_stage: str | SkipJsonSchema[None] = None
    """Stage that a person has set in the portal."""


class KnownUserList(BaseModel):
    items: list[KnownUser]
    next: str | SkipJsonSchema[None] = None
    total: int | SkipJsonSchema[None] = None


def users_router(users: Users, reader: Reader, tokens: Tokens | None) -> APIRouter:
    """Returns the routes of the service; reading needs the scope `READ`, all else `WRITE_USERS`."""
    router = APIRouter(prefix="/users", tags=["users"], route_class=BodyRoute)
    _add_writes(router, users, tokens)
    _add_reads(router, reader, tokens)
    return router


def _errors(tokens: Tokens | None, *more: int) -> dict[int | str, dict[str, Any]]:
    return problems.responses(400, 413, 422, 503, *refusals(tokens), *more)


def _add_writes(router: APIRouter, users: Users, tokens: Tokens | None) -> None:
    errors, missing, writes = _errors(tokens), _errors(tokens, 404), guards(tokens, WRITE_USERS)

    @router.post(
        "",
        status_code=201,
        responses=errors,
        dependencies=writes,
        operation_id="create_user",
        summary="Create a user",
    )
    async def create(body: NewUser, key: Key = None) -> ServiceUser:
        return ServiceUser(**await users.add(body.model_dump(), key))

    @router.patch(
        "/{user_id}",
        responses=missing,
        dependencies=writes,
        operation_id="change_user",
        summary="Change fields of a user",
    )
    async def change(user_id: UserId, body: ChangedUser, key: Key = None) -> ServiceUser:
        return ServiceUser(**await users.change(user_id, body.model_dump(), key))

    @router.post(
        "/{user_id}/move",
        responses=missing,
        dependencies=writes,
        operation_id="move_user",
        summary="Move a user to another stage",
    )
    async def move(user_id: UserId, body: Stage, key: Key = None) -> ServiceUser:
        return ServiceUser(**await users.move(user_id, body.stage, key))


def _add_reads(router: APIRouter, reader: Reader, tokens: Tokens | None) -> None:
    errors, missing, reads = _errors(tokens), _errors(tokens, 404), guards(tokens, READ)

    @router.get(
        "/{user_id}",
        responses=missing,
        dependencies=reads,
        response_model_exclude_none=True,
        operation_id="get_user",
        summary="One user",
    )
    async def get(user_id: UserId) -> KnownUser:
        found = await reader.get(TOPIC, str(user_id), personal=True)
        if found is None or "user_id" not in found:
            raise problems.not_found("user", str(user_id))
        return _known(found)

    @router.get(
        "",
        responses=errors,
        dependencies=reads,
        response_model_exclude_none=True,
        operation_id="list_users",
        summary="Users, by stage and phone",
    )
    async def find(
        stage: Annotated[Text, Query()] = None,
        phone: Annotated[Text, Query()] = None,
        q: Annotated[str | SkipJsonSchema[None], Query(description=f"{SEARCHED}: full_name, phone")] = None,
        limit: Limit = 50,
        after: After = None,
        skip: Skip = 0,
        count: Count = False,
    ) -> KnownUserList:
        filters = {name: value for name, value in (("stage", stage), ("phone", phone)) if value is not None}
        place = place_of(after, ORDER, skip)
        page = PageRequest(search=q, order=ORDER, after=place, skip=skip, limit=limit, count=count)
        found = await reader.find(TOPIC, filters, page, personal=True)
        following = None if found.after is None else encode_cursor(ORDER, found.after)
        return KnownUserList(items=[_known(row) for row in found.rows], next=following, total=found.total)


def _known(found: Document) -> KnownUser:
    """Returns a user. Fields missing in a foreign event are empty, as one such user would make the whole list fail."""
    fields: Document = {"full_name": "", "phone": "", "stage": "", **found}
    return KnownUser(id=found["user_id"], **{name: fields[name] for name in KnownUser.model_fields if name in fields})
