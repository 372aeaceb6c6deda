"""The gateway's application on a view in a temporary file, with nothing of Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, cast

import httpx
from aiokafka.errors import KafkaError
from fastapi import FastAPI
from pydantic import SecretStr

from kounter.gateway.app import create_app
from kounter.gateway.queue import queue_router
from kounter.gateway.reader import ViewReader, resources, statuses
from kounter.gateway.resources import Health
from kounter.gateway.settings import GatewaySettings
from kounter.history.reader import Reader
from kounter.settings import Settings
from schemas.cloudevents import read_headers
from schemas.errors import CommandRejected, InvalidInput
from schemas.estate import Lead
from streams.aggregate import Aggregate, Rejected
from streams.domains.crm import CRM, refusal, refusal_of_new
from streams.domains.estate import ESTATE
from streams.kafka.settings import KafkaSettings
from streams.query.view_feeder import ViewFeeder
from tables.layout import State
from tables.timeline import Said
from tables.view import Change, View

BASE = "http://127.0.0.1"
LAYOUTS = {a.topic: a.layout for a in ESTATE.aggregates}
USERS = {a.topic: a.layout for a in CRM.aggregates}
LISTINGS = {a.topic: a.listing for a in (*ESTATE.aggregates, *CRM.aggregates)}


class LocalUsers:
    """The rules of the users service over a dict; every user is written to the view, too."""

    def __init__(self, view: View) -> None:
        self._view, self._known = view, dict[int, dict[str, Any]]()

    async def add(self, fields: Mapping[str, str | None], key: str | None) -> dict[str, Any]:
        self._check(refusal_of_new(fields["full_name"], fields["phone"], fields["stage"], ()))
        id = len(self._known) + 1
        self._known[id] = {"id": id, **fields}
        return self._put(id)

    async def change(self, user_id: int, fields: Mapping[str, str | None], key: str | None) -> dict[str, Any]:
        if user_id not in self._known:
            raise CommandRejected("not_found", "there is no user")
        self._check(refusal(fields.get("full_name"), fields.get("phone"), fields.get("stage"), ()))
        self._known[user_id] |= {name: value for name, value in fields.items() if value is not None}
        return self._put(user_id)

    async def move(self, user_id: int, stage: str, key: str | None) -> dict[str, Any]:
        return await self.change(user_id, {"stage": stage}, key)

    def _check(self, wrong: Rejected | None) -> None:
        if wrong is not None:
            raise CommandRejected(wrong.code, wrong.reason)

    def _put(self, id: int) -> dict[str, Any]:
        user = self._known[id]
        fields = {name: user[name] for name in ("full_name", "phone", "stage")}
        put(self._view, "crm.user", USERS["crm.user"].blank(str(id))._replace(version=1, user_id=id, **fields))
        return user


class Histories:
    """Of the topics; only leads have one, of one record."""

    async def history(self, aggregate: Aggregate, key: str) -> list[Said]:
        if aggregate.topic != "estate.lead" or not key.startswith("l"):
            return []
        meta = read_headers([], timestamp_ms=0, topic=aggregate.topic, partition=0, offset=0)
        return [Said(Lead(key, fee=Decimal("1.00")), meta, 0, 0, 0)]


class LocalReader(ViewReader):
    """The gateway's own reader; `found` is what it says of the workers' health."""

    found = Health(ready=False)
    error: Exception | None = None

    async def health(self) -> Health:
        if self.error is not None:
            raise self.error
        return self.found


@contextmanager
def local_reader(folder: Path) -> Iterator[tuple[LocalReader, View]]:
    """A reader, and the view to put states in."""
    view = View(folder / "view.sqlite", LAYOUTS | USERS, LISTINGS)
    try:
        feeder, histories = ViewFeeder(KafkaSettings(), [], view), cast(Reader, Histories())
        yield LocalReader(view, feeder, histories, [ESTATE, CRM], Settings()), view
    finally:
        view.close()


class Seat:
    """Whatever is ``taken`` by the test at hand: an application takes long to build, so one serves them all."""

    taken: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.taken, name)


class Pushed:
    """Takes the rows that are pushed; refuses and fails on request."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.refused: InvalidInput | None = None
        self.failure: KafkaError | None = None

    async def __call__(self, rows: Sequence[Any]) -> list[InvalidInput | None]:
        if self.failure is not None:
            raise self.failure
        self.rows += rows
        return [self.refused] * len(rows)


PUSHED = Pushed()
"""Of the applications of `application`, which nobody looks at."""


@cache
def _application(token: str) -> tuple[FastAPI, Seat, Seat]:
    reader, users = Seat(), Seat()
    tokens = GatewaySettings(token=SecretStr(token)).tokens()
    app = create_app(resources([ESTATE]), reader, tokens, users, statuses([CRM]), queue_router(PUSHED, None, tokens))
    return app, reader, users


def application(reader: LocalReader, token: str = "") -> FastAPI:
    """One of each token; it reads from the last ``reader`` that it was asked for with."""
    app, reads, users = _application(token)
    reads.taken, users.taken = reader, LocalUsers(reader.view)
    return app


@asynccontextmanager
async def client(app: FastAPI, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """HTTP without a network; what the application fails of is answered as a server would."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(**{"transport": transport, "base_url": BASE, **options}) as http:
        yield http


def put(view: View, topic: str, *states: State) -> None:
    view.apply([Change(topic, state.ext_id, state) for state in states], {})


def state(topic: str, ext_id: str, changed_at: int = 1, **fields: Any) -> State:
    return LAYOUTS[topic].blank(ext_id)._replace(version=1, changed_at=changed_at, **fields)


def leads(ids: Sequence[str], **fields: Any) -> list[State]:
    return [state("estate.lead", ext_id, **fields) for ext_id in ids]
