"""The log to the main backend's own door, which the twin plays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from adapters.backend.queue import BackendQueue
from adapters.backend.settings import BackendSettings
from adapters.backend.sink import BackendSink
from adapters.backend.twin.faults import Fault, OwnWay
from adapters.backend.twin.server import BackendTwin
from adapters.http_client import HttpRefused
from schemas.backend import BackendChange, BackendEvent
from schemas.errors import BrokenSetup, DeliveryDenied, DeliveryUnavailable, OutcomeUnknown
from streams.backend_log.numbering import event_of

KEY = rsa.generate_private_key(65_537, 2_048)


def event(subject: str, n: int = 1, **fields: str) -> BackendEvent:
    type, _, ext_id = subject.partition("/")
    frame = json.dumps({"ext_id": ext_id} | fields, ensure_ascii=False)
    return event_of(BackendChange(subject, type, ext_id, frame), n)


def premises(count: int, **fields: str) -> list[BackendEvent]:
    return [event(f"premise/{n}", n, **fields) for n in range(1, count + 1)]


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "backend.pem"
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    path.write_bytes(KEY.public_key().public_bytes(serialization.Encoding.PEM, form))
    return path


@asynccontextmanager
async def sinking(twin: BackendTwin, key_file: Path | None = None) -> AsyncIterator[BackendSink]:
    async with BackendQueue(BackendSettings(base_url=twin.url, public_key_file=key_file)) as queue:
        sink = BackendSink(queue)
        yield sink
        await sink.close()


async def deliver(sink: BackendSink, *events: BackendEvent) -> list[Any]:
    """Delivers a run, as the engine does. Returns None or the error of each."""
    calls = (sink.deliver(change, None, 1, False) for change in events)
    return [
        None if not isinstance(end, Exception) else end for end in await asyncio.gather(*calls, return_exceptions=True)
    ]


@pytest.mark.parametrize("encrypted", [True, False])
async def test_things_are_taken_whole_and_without_our_number(key_file: Path, encrypted: bool) -> None:
    async with (
        BackendTwin(key=KEY if encrypted else None) as twin,
        sinking(twin, key_file if encrypted else None) as sink,
    ):
        for n, subject in enumerate(("city/c", "project/p", "building/b", "lead/l"), 1):
            assert await deliver(sink, event(subject, n, name="Дом «7»", project_ext_id="p")) == [None]
        assert twin.store.taken() == [("project", "p"), ("building", "b"), ("lead", "l")]
        assert twin.store.get("building", "b") == {"ext_id": "b", "name": "Дом «7»", "project_ext_id": "p"}
        assert dict(sink.passed_over) == {"city": 1}


@pytest.mark.parametrize("encrypted", [True, False])
async def test_a_run_goes_in_few_calls_that_fit_and_in_order(key_file: Path, encrypted: bool) -> None:
    async with (
        BackendTwin(key=KEY if encrypted else None) as twin,
        sinking(twin, key_file if encrypted else None) as sink,
    ):
        run = premises(150, address="я" * 400)  # 130 kB of plain text
        assert await deliver(sink, *reversed(run)) == [None] * 150
        assert twin.store.taken() == [("premise", str(n)) for n in range(1, 151)]
        assert dict(twin.app.requests) == {"/queue/premise/many": 2}


async def test_types_without_many_go_one_by_one() -> None:
    async with BackendTwin() as twin, sinking(twin) as sink:
        clients = [event(f"client/{n}", n) for n in range(3)]
        assert await deliver(sink, *clients) == [None] * 3
        assert dict(twin.app.requests) == {"/queue/client": 3}
        assert await deliver(sink, event("VISIT/1"), event("lead_op/1", lead_ext_id="none", status="бронь"))
        assert twin.app.requests["/queue/visit"] == twin.app.requests["/queue/lead-ops"] == 1


async def test_refused_things_are_found_and_the_others_of_their_run_are_taken() -> None:
    async with BackendTwin() as twin, sinking(twin) as sink:
        run = premises(20)
        run[4] = event("premise/5", 5, building_ext_id="none")
        run[11] = event("premise/12", 12, text="x" * 110_000)
        ends = await deliver(sink, *run)
        assert [n for n, end in enumerate(ends) if end is not None] == [4, 11]
        assert [(end.status, type(end)) for end in (ends[4], ends[11])] == [(404, HttpRefused), (413, HttpRefused)]
        assert "building not found" in str(ends[4])
        taken = [int(id) for _, id in twin.store.taken()]
        assert sorted({*taken}) == sorted({*range(1, 21)} - {5, 12})


async def test_a_thing_that_the_database_does_not_take_fails_alone() -> None:
    async with BackendTwin() as twin, sinking(twin) as sink:
        run = premises(9)
        run[3] = event("premise/4", 4, name="x" * 300)
        ends = await deliver(sink, *run)
        assert [n for n, end in enumerate(ends) if end is not None] == [3]
        assert isinstance(ends[3], OutcomeUnknown)
        assert "too long" in str(ends[3])


async def test_a_backend_that_fails_altogether_is_not_asked_for_each_thing() -> None:
    async with BackendTwin() as twin, sinking(twin) as sink:
        twin.faults.plan(Fault(kind="error_after"))
        ends = await deliver(sink, *premises(64))
        assert {type(end).__mro__[1] for end in ends} == {OutcomeUnknown}
        assert sum(twin.app.requests.values()) < 16


@pytest.mark.parametrize(("kind", "meaning"), [("unavailable", DeliveryUnavailable), (OwnWay.NO_PATH, DeliveryDenied)])
async def test_an_outage_and_a_wrong_address_refuse_nothing(kind: str, meaning: type[Exception]) -> None:
    async with BackendTwin() as twin, sinking(twin) as sink:
        twin.faults.plan(Fault(kind=kind, count=1))
        ends = await deliver(sink, *premises(5))
        assert {type(end) for end in ends} == {meaning}
        assert all(getattr(end, "for_all", True) for end in ends)
        assert await deliver(sink, *premises(5)) == [None] * 5


async def test_a_body_for_another_key_refuses_nothing(key_file: Path) -> None:
    other = rsa.generate_private_key(65_537, 2_048)
    async with BackendTwin(key=other) as twin, sinking(twin, key_file) as sink:
        (end,) = await deliver(sink, event("project/1"))
        assert isinstance(end, OutcomeUnknown)


async def test_a_client_of_an_unknown_agent_is_lost_as_in_the_original() -> None:
    async with BackendTwin() as twin, sinking(twin) as sink:
        assert await deliver(sink, event("client/1", agent_ext_id="a")) == [None]
        assert twin.store.taken() == []


def test_a_key_file_that_can_not_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokenSetup, match="KOUNTER_BACKEND__PUBLIC_KEY_FILE"):
        BackendQueue(BackendSettings(base_url="http://127.0.0.1", public_key_file=tmp_path / "none.pem"))
