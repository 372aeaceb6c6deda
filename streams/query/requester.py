"""Sends commands and reads their results from the view; every service of a gateway uses it."""

from __future__ import annotations

from typing import Any, Final

from schemas.commands import CommandOutcome, CommandReply
from schemas.errors import CommandRejected, CommandUnanswered
from streams.idempotency import ANSWERED
from streams.query.command_client import CommandClient
from streams.query.view_feeder import ViewFeeder
from tables.view import View

TIMEOUT_S: Final = 15.0
Document = dict[str, Any]


class Requester:
    """Sends requests. Each method raises CommandUnanswered after `TIMEOUT_S`; the command may still be carried out."""

    def __init__(self, bus: CommandClient, feeder: ViewFeeder, view: View) -> None:
        self._bus, self._feeder, self._view = bus, feeder, view

    async def ask(self, command: Any) -> CommandReply:
        """Returns the reply to a command. Raises CommandRejected if the rules do not allow it."""
        reply = await self._bus.ask(command, TIMEOUT_S)
        if reply.outcome == CommandOutcome.REJECTED:
            raise CommandRejected(reply.code or "", reply.reason or "")
        return reply

    async def read(self, topic: str, ext_id: str, version: int) -> Document:
        """Returns a state of at least ``version``: one's own write. Raises CommandUnanswered if it does not come."""
        if await self._feeder.wait_for(topic, ext_id, version, TIMEOUT_S):
            found = self._view.get(topic, ext_id)
            if found is not None:
                return found
        raise CommandUnanswered("the command was carried out, but the view does not have it yet")

    async def ask_once(self, topic: str, request: Any) -> Document:
        """Returns the answer to a request under an Idempotency-Key, the first one's at every repeat. ``topic``: the
        aggregate of the requests. Raises CommandRejected, at every repeat too."""
        await self.ask(request)
        answer = await self.read(topic, request.ext_id, ANSWERED)
        if answer["outcome"] == CommandOutcome.REJECTED:
            raise CommandRejected(answer.get("code", ""), answer.get("reason", ""))
        return answer
