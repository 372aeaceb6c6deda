"""A small service over the shared parts alone: its client, its twin, and every shared way to fail."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from pydantic.dataclasses import dataclass
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapters.http_client import HttpClient
from adapters.twin_kit.bodies import read_json
from adapters.twin_kit.control import BaseControl, control_error
from adapters.twin_kit.faults import BaseFault, Faults, Way, fail
from adapters.twin_kit.hanging import Hanging
from adapters.twin_kit.server import HttpTwin
from adapters.twin_kit.storage import TwinMemory
from schemas.errors import DeliveryError, DeliveryUnavailable, OutcomeUnknown


@dataclass
class Fault(BaseFault):
    """Meant for all calls."""

    @property
    def only(self) -> Collection[str]:
        return ()


class Visits(TwinMemory):
    layout, tables = 1, "CREATE TABLE visits (id INTEGER PRIMARY KEY AUTOINCREMENT, person INTEGER NOT NULL);"

    def people(self) -> list[int]:
        return [row["person"] for row in self.rows("SELECT person FROM visits ORDER BY id")]


class Control(BaseControl[Fault]):
    fault: ClassVar[Any] = Fault

    def __init__(self, faults: Faults[Fault], visits: Visits) -> None:
        super().__init__(faults)
        self._visits = visits

    def counts(self) -> dict[str, Any]:
        return {"visits": len(self._visits.people())}

    def forget(self) -> None:
        self._visits.reset()


class GymApp:
    def __init__(self, visits: Visits, faults: Faults[Fault]) -> None:
        self._visits, self._faults, self._hanging = visits, faults, Hanging()
        self.end = self._hanging.end
        routes = [Route("/visits", self.visit, methods=["POST"]), *Control(faults, visits).routes]
        self.asgi = Starlette(routes=routes, exception_handlers={HTTPException: control_error})

    async def visit(self, request: Request) -> Response:
        body = await read_json(request)

        def act() -> Response:
            return JSONResponse({"id": self._visits.add("INSERT INTO visits VALUES (NULL, ?)", body["person"])})

        fault = self._faults.draw("POST /visits")
        return await fail(fault, self._hanging, act, lambda status: Response("{}", status)) if fault else act()


class GymTwin(HttpTwin):
    def __init__(self, db_path: str | Path = ":memory:") -> None:
        super().__init__("127.0.0.1", 0)
        self.faults, self._db_path = Faults[Fault](), db_path

    def begin(self, stack: AsyncExitStack) -> GymApp:
        self.visits = Visits(self._db_path)
        stack.callback(self.visits.close)
        return GymApp(self.visits, self.faults)

    def client(self, timeout_s: float = 5.0) -> HttpClient:
        return HttpClient(f"http://{self.address}", "the gym", setting="KOUNTER_GYM__URL", timeout_s=timeout_s)


async def visit(gym: HttpClient, person: int) -> Any:
    return (await gym.request("POST", "/visits", json={"person": person}, write=True)).json()


BEFORE = (Way.TOO_MANY, Way.UNAVAILABLE)
NEVER_DONE = (*BEFORE, Way.BAD_GATEWAY, Way.HANG_BEFORE)


@pytest.mark.parametrize("way", sorted(Way))
async def test_each_way_to_fail(way: Way) -> None:
    async with GymTwin() as twin, twin.client(0.3) as gym:
        twin.faults.plan(Fault(way, count=1, seconds=0.5))
        if way is Way.NOT_JSON:
            assert await visit(gym, 1) is None
        else:
            with pytest.raises(DeliveryError) as failed:
                await visit(gym, 1)
            assert type(failed.value) is (DeliveryUnavailable if way in BEFORE else OutcomeUnknown)
            assert failed.value.retry_after == (1.0 if way is Way.TOO_MANY else None)
        assert (await visit(gym, 2))["id"]
        if way is Way.LATE:
            assert twin.visits.people() == [2], "the late one is still to come"
        else:
            assert twin.visits.people() == ([2] if way in NEVER_DONE else [1, 2])
        assert twin.faults.fired == {way: 1}


async def test_the_control_sets_faults_counts_and_resets() -> None:
    async with GymTwin() as twin, twin.client() as gym, httpx.AsyncClient(base_url=f"http://{twin.address}") as http:
        await visit(gym, 1)
        planned = [{"kind": "slow", "rate": 0.5, "count": 3, "seconds": 0.0}]
        assert (await http.post("/_twin/faults", json=planned[0])).json() == planned
        assert (await http.get("/_twin/faults")).json() == planned
        assert (await http.get("/_twin/status")).json() == {"visits": 1, "faults_fired": {}}
        assert (await http.post("/_twin/reset", json={})).json() == {}
        assert (await http.get("/_twin/faults")).json() == []
        assert twin.visits.people() == []
        assert (await visit(gym, 7))["id"] == 1, "ids begin again"
        await http.post("/_twin/faults", json=planned * 2)
        assert (await http.delete("/_twin/faults")).json() == []


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ({"kind": "no_such"}, "kind"),
        ({}, "kind"),
        ({"kind": "slow", "rate": 2}, "rate"),
        ({"kind": "slow", "rate": True}, "rate"),
        ({"kind": "slow", "count": 1.5}, "count"),
        ({"kind": "slow", "seconds": 601}, "seconds"),
        ({"kind": "slow", "nosuch": 1}, "nosuch"),
        (5, "0"),
    ],
)
async def test_a_fault_that_is_none_is_named(fault: object, named: str) -> None:
    async with GymTwin() as twin, httpx.AsyncClient(base_url=f"http://{twin.address}") as http:
        answer = await http.post("/_twin/faults", json=fault)
        assert (answer.status_code, named in answer.text, twin.faults.as_list()) == (422, True, [])


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"[]", "text/plain", 415),
        (b"[", "application/json", 400),
        (b"[NaN]", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b" " * (4 * 1024 * 1024 + 1), "application/json", 413),
        (b"[]", "application/json; charset=utf-8", 200),
    ],
)
async def test_a_body_is_json_of_a_limited_size(body: bytes, kind: str, status: int) -> None:
    async with GymTwin() as twin, httpx.AsyncClient(base_url=f"http://{twin.address}") as http:
        answer = await http.post("/_twin/faults", content=body, headers={"content-type": kind})
        assert answer.status_code == status


async def test_what_a_twin_keeps_survives_it(tmp_path: Path) -> None:
    for visits in (1, 2):
        async with GymTwin(tmp_path / "gym.sqlite") as twin, twin.client() as gym:
            await visit(gym, 1)
            assert len(twin.visits.people()) == visits
    with sqlite3.connect(tmp_path / "gym.sqlite") as db:
        db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(ValueError, match="layout 9, this one writes 1"):
        async with GymTwin(tmp_path / "gym.sqlite"):
            pass
