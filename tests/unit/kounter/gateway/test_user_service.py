"""The users service beside a portal that can't say its stages: nobody waits for it, and its own stages stay valid."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from kounter.gateway.user_service import UserService
from schemas.commands import CommandOutcome, CommandReply
from streams.query.command_client import CommandClient
from streams.query.view_feeder import ViewFeeder
from tables.view import View

OWN = ("NEW", "UC_1")


class Service:
    """Bus, feeder and view of a service whose commands are all accepted, and the portal's part."""

    def __init__(self) -> None:
        self.commands: list[Any] = []
        self.asked = 0
        self.waiting = self.most = 0
        self.hangs = False

    async def stages(self) -> tuple[str, ...]:
        self.asked += 1
        if self.hangs:
            self.waiting += 1
            self.most = max(self.most, self.waiting)
            try:
                await asyncio.Event().wait()
            finally:
                self.waiting -= 1
        return OWN

    async def ask(self, command: Any, timeout_s: float) -> CommandReply:
        self.commands.append(command)
        return CommandReply("0", command.command_id, CommandOutcome.ACCEPTED, version=1, subject="7")

    async def wait_for(self, topic: str, ext_id: str, version: int, timeout_s: float) -> bool:
        return True

    def get(self, topic: str, ext_id: str) -> dict[str, Any]:
        return {"user_id": 7, "full_name": "Иван", "phone": "+77001112233", "stage": "NEW"}


def service_of(parts: Service) -> UserService:
    return UserService(cast(CommandClient, parts), cast(ViewFeeder, parts), cast(View, parts), parts.stages)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kounter.gateway.user_service.STAGES_S", 0.2)


async def test_a_portal_that_hangs_keeps_nobody_waiting() -> None:
    parts = Service()
    parts.hangs = True
    users = service_of(parts)
    async with asyncio.timeout(60):
        await asyncio.gather(*(users.move(7, "NEW", None) for _ in range(8)))
        asked = parts.asked
        assert parts.most == 8, "they wait side by side"
        for _ in range(20):
            await users.move(7, "NEW", None)
    assert parts.asked == asked, "it is not asked again for a while"
    assert {command.stages for command in parts.commands} == {()}, "the rules know Bitrix24's own"


async def test_the_stages_known_before_are_used_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kounter.gateway.user_service.REST_S", 0.0)
    parts = Service()
    users = service_of(parts)
    await users.move(7, "UC_1", None)
    parts.hangs = True
    async with asyncio.timeout(60):
        await users.move(7, "UC_1", None)
    parts.hangs = False
    await users.move(7, "UC_1", None)
    assert [command.stages for command in parts.commands] == [OWN] * 3
    assert parts.asked == 3
