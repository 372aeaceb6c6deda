"""The gateway's application on a view in a temporary file, with nothing of Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import httpx
from fastapi import FastAPI
from pydantic import SecretStr

from adapters.gateway.app import create_app
from adapters.gateway.resources import Health
from kounter.gateway import ViewReader, resources
from kounter.reader import Reader
from schemas.cloudevents import read_headers
from schemas.estate import Lead
from schemas.kafka import KafkaSettings
from streams.domain import Aggregate
from streams.estate import ESTATE
from streams.feeder import Feeder
from tables.layout import State
from tables.timeline import Said
from tables.view import Change, View

BASE = "http://127.0.0.1"
LAYOUTS = {a.topic: a.layout for a in ESTATE.aggregates}


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
    view = View(folder / "view.sqlite", LAYOUTS)
    try:
        yield LocalReader(view, Feeder(KafkaSettings(), [], view), cast(Reader, Histories()), [ESTATE]), view
    finally:
        view.close()


def application(reader: LocalReader, token: str = "") -> FastAPI:
    return create_app(resources([ESTATE]), reader, SecretStr(token))


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
