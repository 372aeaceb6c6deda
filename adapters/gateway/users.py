"""``/users``: the Core users service of the seed, as its own clients call it (seed `core-bitrix`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Protocol

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from adapters.gateway import problems
from adapters.gateway.bodies import BodyRoute
from adapters.gateway.resources import Document, Reader, decode_cursor, encode_cursor
from schemas.errors import InvalidInput

TOPIC: Final = "crm.user"
ORDER: Final = "user_id"
PARAMETERS: Final = ("stage", "phone", "limit", "after")
"""Of the list."""
UserId = Annotated[int, Path(ge=1, lt=2**63)]
Short = Annotated[str, StringConstraints(max_length=1_000)]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="The same key and body give the same answer, and the operation is carried out once.",
    ),
]


class Users(Protocol):
    """Who carries out what is asked. Each raises CommandRejected and CommandUnanswered."""

    async def add(self, fields: Mapping[str, str | None], key: str | None) -> Document: ...

    async def change(self, user_id: int, fields: Mapping[str, str | None], key: str | None) -> Document: ...

    async def move(self, user_id: int, stage: str, key: str | None) -> Document: ...


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewUser(_Body):
    """What is missing is refused by the rules, in the seed's words."""

    full_name: Short | None = None
    phone: Short | None = Field(default=None, examples=["+77001112233"])
    stage: Short | None = Field(default=None, examples=["NEW"])


class ChangedUser(NewUser):
    """What is absent stays."""


class Stage(_Body):
    stage: Short = Field(examples=["CONVERTED"])


class User(BaseModel):
    """As the seed answers."""

    id: int
    full_name: str
    phone: str
    stage: str


class KnownUser(User):
    """With what became of its card."""

    bitrix_lead_id: int | None = None
    bitrix_outcome: str | None = None
    bitrix_reason: str | None = None
    portal_stage: str | None = None
    """As a person has set it in the portal."""


class UserList(BaseModel):
    items: list[KnownUser]
    next: str | None = None


def users_router(users: Users, reader: Reader, guards: Sequence[Any]) -> APIRouter:
    """Routes of the service. ``guards``: dependencies that every request must pass."""
    errors = problems.responses(400, 413, 422, 503, *([401] if guards else []))
    missing = errors | problems.responses(404)
    router = APIRouter(prefix="/users", tags=["users"], dependencies=list(guards), route_class=BodyRoute)

    @router.post("", status_code=201, responses=errors, summary="Create a user")
    async def create(body: NewUser, key: Key = None) -> User:
        return User(**await users.add(body.model_dump(), key))

    @router.patch("/{user_id}", responses=missing, summary="Change fields of a user")
    async def change(user_id: UserId, body: ChangedUser, key: Key = None) -> User:
        return User(**await users.change(user_id, body.model_dump(), key))

    @router.post("/{user_id}/move", responses=missing, summary="Move a user to another stage")
    async def move(user_id: UserId, body: Stage, key: Key = None) -> User:
        return User(**await users.move(user_id, body.stage, key))

    @router.get("/{user_id}", responses=missing, response_model_exclude_none=True, summary="One user")
    async def get(user_id: UserId) -> KnownUser:
        found = await reader.get(TOPIC, str(user_id), personal=True)
        if found is None or "user_id" not in found:
            raise problems.not_found("user", str(user_id))
        return _known(found)

    @router.get(
        "",
        responses=errors,
        response_model_exclude_none=True,
        summary="Users, by stage and phone",
        dependencies=[Depends(_known_parameters)],
    )
    async def find(
        stage: Annotated[str | None, Query(max_length=255)] = None,
        phone: Annotated[str | None, Query(max_length=255)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        after: Annotated[str | None, Query(max_length=2_000, description="`next` of the answer before")] = None,
    ) -> UserList:
        filters = {name: value for name, value in (("stage", stage), ("phone", phone)) if value is not None}
        place = decode_cursor(after, ORDER) if after else None
        rows, last = await reader.find(TOPIC, filters, limit=limit, after=place, order=ORDER, personal=True)
        following = None if last is None else encode_cursor(ORDER, last)
        return UserList(items=[_known(row) for row in rows if "user_id" in row], next=following)

    return router


async def _known_parameters(request: Request) -> None:
    """A filter that is misspelt would give everybody. Raises InvalidInput."""
    names = [name for name, _ in request.query_params.multi_items()]
    for name in names:
        if name not in PARAMETERS:
            raise InvalidInput(name, f"one of {', '.join(PARAMETERS)}", request.query_params[name])
        if names.count(name) > 1:
            raise InvalidInput(name, "one value", request.query_params.getlist(name))


def _known(found: Document) -> KnownUser:
    """A user; what a stranger's event left out is empty, or one such user would take the list from all."""
    fields: Document = {"full_name": "", "phone": "", "stage": "", **found}
    return KnownUser(id=found["user_id"], **{name: fields[name] for name in KnownUser.model_fields if name in fields})
