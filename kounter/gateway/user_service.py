"""The Core users service: commands to the lane, answers from the view (docs/contracts/core-users.md#http-api)."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from loguru import logger

from kounter.gateway.resources import Document
from schemas.crm import DIRECTORY, AddUser, BeginRequest, ChangeUser, MoveUser, UserOperation
from streams.idempotency import fingerprint
from streams.query.command_client import CommandClient
from streams.query.requester import Requester
from streams.query.view_feeder import ViewFeeder
from tables.view import View

USERS: Final = "crm.user"
REQUESTS: Final = "crm.request"
REPLIES: Final = ("crm.directory.replies", "crm.user.replies", "crm.request.replies")
STAGES_S: Final = 2.0
"""Seconds for the portal to list its stages: a client that times out meanwhile retries, and creates a second user."""
REST_S: Final = 10.0
"""Seconds before a portal that did not list its stages is asked again."""

StagesOf = Callable[[], Awaitable[tuple[str, ...]]]
"""Function that returns the portal's stages; empty where no portal is configured."""


class UserService:
    """The service behind the routes of `kounter.gateway.users`."""

    def __init__(self, bus: CommandClient, feeder: ViewFeeder, view: View, stages: StagesOf) -> None:
        self._requester, self._ask_stages = Requester(bus, feeder, view), stages
        self._known: tuple[str, ...] = ()
        self._rests_until = 0.0

    async def add(self, fields: Mapping[str, str | None], key: str | None) -> Document:
        """Returns the new user. Raises CommandRejected, CommandUnanswered."""
        if key is not None:
            return await self._once(UserOperation.ADD, None, fields, key)
        command = AddUser(DIRECTORY, str(uuid.uuid4()), stages=await self._stages(), **fields)
        reply = await self._requester.ask(command)
        return await self._user(reply.subject or "", 1)

    async def change(self, user_id: int, fields: Mapping[str, str | None], key: str | None) -> Document:
        """Returns the changed user. Raises CommandRejected, CommandUnanswered."""
        if key is not None:
            return await self._once(UserOperation.CHANGE, user_id, fields, key)
        command = ChangeUser(str(user_id), str(uuid.uuid4()), stages=await self._stages(), **fields)
        reply = await self._requester.ask(command)
        return await self._user(str(user_id), reply.version or 0)

    async def move(self, user_id: int, stage: str, key: str | None) -> Document:
        """Returns the changed user. Raises CommandRejected, CommandUnanswered."""
        if key is not None:
            return await self._once(UserOperation.MOVE, user_id, {"stage": stage}, key)
        reply = await self._requester.ask(MoveUser(str(user_id), str(uuid.uuid4()), stage, await self._stages()))
        return await self._user(str(user_id), reply.version or 0)

    async def _stages(self) -> tuple[str, ...]:
        """Returns the portal's stages, or those that it listed last."""
        if time.monotonic() < self._rests_until:
            return self._known
        found: tuple[str, ...] = ()
        try:
            async with asyncio.timeout(STAGES_S):
                found = await self._ask_stages()
        except TimeoutError:
            logger.warning("the portal has not listed its stages within {} s", STAGES_S)
        if found:
            self._known = found
        else:
            self._rests_until = time.monotonic() + REST_S
        return self._known

    async def _user(self, user_id: str, version: int) -> Document:
        found = await self._requester.read(USERS, user_id, version)
        return as_answer({"user_id": int(user_id), **found})

    async def _once(
        self, operation: UserOperation, user_id: int | None, fields: Mapping[str, str | None], key: str
    ) -> Document:
        """Returns the answer under an Idempotency-Key: every repeat gets the first one."""
        command = BeginRequest(
            ext_id=key,
            command_id=str(uuid.uuid4()),
            fingerprint=fingerprint(operation, user_id, fields),
            operation=operation,
            user_id=user_id,
            stages=await self._stages(),
            **fields,
        )
        done = await self._requester.ask_once(REQUESTS, command)
        return as_answer({"user_id": user_id, **done})


def as_answer(found: Document) -> Document:
    """Returns a user in the form of docs/contracts/core-users.md#http-api; fields missing in a foreign event are
    empty."""
    return {name: found.get(name, "") for name in ("full_name", "phone", "stage")} | {"id": found["user_id"]}
