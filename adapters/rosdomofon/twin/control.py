"""The twin's own control: tokens, abonents, and what became of each message."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapters.rosdomofon.twin.faults import Fault
from adapters.rosdomofon.twin.operator import Operator
from adapters.rosdomofon.twin.requests import Phone
from adapters.twin_kit.bodies import read_json, valid
from adapters.twin_kit.control import BaseControl
from adapters.twin_kit.faults import Faults


class Expiring(Protocol):
    """Tokens, as far as they are controlled."""

    uses: int | None
    given: int

    def expire(self) -> None: ...


class Speaking(Protocol):
    """Abonents' words on Kafka, as far as they are controlled."""

    async def abonent_says(self, company: str, abonent_id: int, text: str) -> Any: ...


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    text: str = Field(min_length=1, max_length=10_000)
    abonent_id: int | None = None
    phone: Phone | None = None
    company: str = "SK_SB"


class _Abonent(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    phone: Phone
    id: int | None = None


class _Tokens(BaseModel):
    model_config = ConfigDict(extra="forbid")

    uses: int | None = None
    expire: bool = False


class Control(BaseControl[Fault]):
    """Routes of the operator."""

    fault = Fault

    def __init__(self, operator: Operator, faults: Faults[Fault], tokens: Expiring, requests: Counter[str]) -> None:
        super().__init__(faults)
        self._operator, self._tokens, self._requests = operator, tokens, requests
        self.speaking: Speaking | None = None
        """Where the twin has a Kafka."""
        self.routes += [
            Route("/_twin/tokens", self.tokens, methods=["POST"]),
            Route("/_twin/abonents", self.add_abonent, methods=["POST"]),
            Route("/_twin/say", self.say, methods=["POST"]),
            Route("/_twin/unreachable", self.unreachable, methods=["POST"]),
            Route("/_twin/messages", self.messages, methods=["GET"]),
            Route("/_twin/history", self.history, methods=["GET"]),
        ]

    def counts(self) -> dict[str, Any]:
        """Requests by call, and tokens."""
        return {"requests": self._requests, "tokens_given": self._tokens.given}

    def forget(self) -> None:
        """Empty the operator; what companies said over Kafka remains, as it does on the topics."""
        self._operator.reset()

    async def tokens(self, request: Request) -> Response:
        """``{"expire": true}`` ends all; ``{"uses": 5}``: every new one is good for five requests."""
        asked = valid(_Tokens, await read_json(request))
        self._tokens.uses = asked.uses
        if asked.expire:
            self._tokens.expire()
        return JSONResponse({"uses": asked.uses})

    async def add_abonent(self, request: Request) -> Response:
        """``{"phone": 79131234567}``; the one with this phone if there is one."""
        asked = valid(_Abonent, await read_json(request))
        return JSONResponse({"id": self._operator.add_abonent(asked.phone, asked.id)})

    async def say(self, request: Request) -> Response:
        """``{"phone": 79131234567, "text": "…"}``: the abonent, a new one if need be, writes; or one that is known by
        ``abonent_id``."""
        asked = valid(_Said, await read_json(request))
        if self.speaking is None:
            raise HTTPException(409, "this twin has no Kafka")
        id = asked.abonent_id if asked.phone is None else self._operator.add_abonent(asked.phone, asked.abonent_id)
        try:
            place = await self.speaking.abonent_says(asked.company, id or 0, asked.text)
        except KeyError:
            raise HTTPException(404, "no such abonent: name one, or a phone") from None
        return JSONResponse({"abonent_id": id, "place": "/".join(map(str, place))})

    async def unreachable(self, request: Request) -> Response:
        """A list of abonents that no message reaches."""
        self._operator.unreachable = set(valid(list[int], await read_json(request)))
        return JSONResponse(sorted(self._operator.unreachable))

    async def messages(self, request: Request) -> Response:
        """All that was said, in its order; ``?abonent_id=`` for one."""
        asked = request.query_params.get("abonent_id", "")
        one = "WHERE abonent_id = ?" if asked.isdecimal() else ""
        sql = f"SELECT * FROM messages {one} ORDER BY id"  # noqa: S608
        rows = self._operator.store.rows(sql, *([int(asked)] if one else []))
        return JSONResponse([{**dict(row), "incoming": bool(row["incoming"])} for row in rows])

    async def history(self, request: Request) -> Response:
        """All that was changed, in its order."""
        rows = self._operator.store.rows("SELECT * FROM history ORDER BY id")
        return JSONResponse([{**dict(row), "doc": json.loads(row["doc"])} for row in rows])
