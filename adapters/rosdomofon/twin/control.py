"""The control routes of this twin: tokens, abonents, messages and the history of changes."""

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
    """Port to the twin's tokens."""

    uses: int | None
    given: int

    def expire(self) -> None:
        """Invalidate all tokens."""


class Speaking(Protocol):
    """Port to the twin's Kafka side, on which abonents write."""

    async def abonent_says(self, company: str, abonent_id: int, text: str) -> Any:
        """Write a message of an abonent. Raises KeyError if the abonent is unknown."""


class _SayRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    text: str = Field(min_length=1, max_length=10_000)
    abonent_id: int | None = None
    phone: Phone | None = None
    company: str = "SK_SB"


class _AbonentRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    phone: Phone
    id: int | None = None


class _TokensRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    uses: int | None = None
    expire: bool = False


class Control(BaseControl[Fault]):
    """The control routes of the operator's twin. Bodies and queries that are invalid raise HTTPException 4xx."""

    fault = Fault

    def __init__(self, operator: Operator, faults: Faults[Fault], tokens: Expiring, requests: Counter[str]) -> None:
        super().__init__(faults)
        self._operator, self._tokens, self._requests = operator, tokens, requests
        self.speaking: Speaking | None = None
        """The twin's Kafka side, None without a Kafka."""
        self.routes += [
            Route("/_twin/tokens", self.tokens, methods=["POST"]),
            Route("/_twin/abonents", self.add_abonent, methods=["POST"]),
            Route("/_twin/say", self.say, methods=["POST"]),
            Route("/_twin/unreachable", self.unreachable, methods=["POST"]),
            Route("/_twin/messages", self.messages, methods=["GET"]),
            Route("/_twin/history", self.history, methods=["GET"]),
        ]

    def counts(self) -> dict[str, Any]:
        """Return the requests by call, and the number of tokens issued."""
        return {"requests": self._requests, "tokens_given": self._tokens.given}

    def forget(self) -> None:
        """Empty the operator; records read from Kafka remain, as they do on the topics."""
        self._operator.reset()

    async def tokens(self, request: Request) -> Response:
        """Control the tokens: ``{"expire": true}`` invalidates all; ``{"uses": 5}`` makes each new one valid for five
        requests. Raises HTTPException."""
        body = valid(_TokensRequest, await read_json(request))
        self._tokens.uses = body.uses
        if body.expire:
            self._tokens.expire()
        return JSONResponse({"uses": body.uses})

    async def add_abonent(self, request: Request) -> Response:
        """Add an abonent, ``{"phone": 79131234567}``; answers the id of the one with this phone if there is one.

        Raises HTTPException.
        """
        body = valid(_AbonentRequest, await read_json(request))
        return JSONResponse({"id": self._operator.add_abonent(body.phone, body.id)})

    async def say(self, request: Request) -> Response:
        """Write as an abonent: ``{"phone": 79131234567, "text": "…"}``, or with ``abonent_id`` instead of the phone. An
        abonent with a new phone is added. Raises HTTPException."""
        body = valid(_SayRequest, await read_json(request))
        if self.speaking is None:
            raise HTTPException(409, "this twin has no Kafka")
        id = body.abonent_id if body.phone is None else self._operator.add_abonent(body.phone, body.abonent_id)
        try:
            place = await self.speaking.abonent_says(body.company, id or 0, body.text)
        except KeyError:
            raise HTTPException(404, "unknown abonent: give the id of a known one, or a phone") from None
        return JSONResponse({"abonent_id": id, "place": "/".join(map(str, place))})

    async def unreachable(self, request: Request) -> Response:
        """Set the list of abonents that no message reaches. Raises HTTPException."""
        self._operator.unreachable = set(valid(list[int], await read_json(request)))
        return JSONResponse(sorted(self._operator.unreachable))

    async def messages(self, request: Request) -> Response:
        """Answer all messages in their order; ``?abonent_id=`` limits them to one abonent."""
        abonent_id = request.query_params.get("abonent_id", "")
        where = "WHERE abonent_id = ?" if abonent_id.isdecimal() else ""
        sql = f"SELECT * FROM messages {where} ORDER BY id"  # noqa: S608
        rows = self._operator.store.rows(sql, *([int(abonent_id)] if where else []))
        return JSONResponse([{**dict(row), "incoming": bool(row["incoming"])} for row in rows])

    async def history(self, request: Request) -> Response:
        """Answer all changes in their order."""
        rows = self._operator.store.rows("SELECT * FROM history ORDER BY id")
        return JSONResponse([{**dict(row), "doc": json.loads(row["doc"])} for row in rows])
