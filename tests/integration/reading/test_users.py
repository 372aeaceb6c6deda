"""The users service end to end: the published requests against worker and gateway processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from kounter.embedded.ports import free_port
from streams.domains.crm import CRM
from tests.support.cluster import PATIENCE_S, Cluster, eventually

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("users")]  # they share a fixture
IVAN = {"full_name": "Иван Иванов", "phone": "+77001112233", "stage": "NEW"}


def start(env: dict[str, str], *command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", *command], env=env)


@pytest.fixture(scope="module")
def gateway(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address; a worker of the domain is behind it."""
    port = free_port()
    env = {
        **os.environ,
        "KOUNTER_DATA_DIR": str(tmp_path_factory.mktemp("users")),
        "KOUNTER_KAFKA__BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "KOUNTER_REGISTRY__URL": stack.registry_url,
        "KOUNTER_GATEWAY__LISTEN": f'["127.0.0.1:{port}"]',
    }
    processes = [start(env, "kounter.worker", "crm", "0"), start(env, "kounter", "gateway")]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(PATIENCE_S)


@pytest.fixture
async def http(gateway: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway, timeout=60) as client:

        async def works() -> bool:
            try:
                return (await client.post("/users", json={})).status_code == 422
            except httpx.TransportError:
                return False

        await eventually(works)
        yield client


async def test_the_seeds_requests(http: httpx.AsyncClient, stack: Any) -> None:
    answer = await http.post("/users", json=IVAN)
    assert answer.status_code == 201, answer.text
    user = answer.json()
    assert user == {"id": user["id"], **IVAN}
    id = user["id"]

    changed = {"full_name": "Иван Петров", "phone": "+77001112233", "stage": "IN_PROCESS"}
    assert (await http.patch(f"/users/{id}", json=changed)).json() == {"id": id, **changed}
    moved = await http.post(f"/users/{id}/move", json={"stage": "CONVERTED"})
    assert (moved.status_code, moved.json()) == (200, {"id": id, **changed, "stage": "CONVERTED"})
    assert (await http.get(f"/users/{id}")).json() == moved.json()
    found = (await http.get("/users", params={"stage": "CONVERTED", "phone": "+77001112233"})).json()
    assert moved.json() in found["items"]

    refused = await http.post("/users", json={"full_name": "Пользователь без телефона", "stage": "NEW"})
    assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
    assert (refused.json()["detail"], refused.json()["code"]) == ("Missing phone number", "missing_phone")
    assert (await http.patch("/users/999999", json={"stage": "NEW"})).status_code == 404

    async with Cluster(stack, CRM) as cluster:
        cards = [row for row in await cluster.rows("bitrix.commands", str(id)) if row.aggregate == "crm.user"]
    assert [(c.action, c.stage, c.name) for c in cards] == [
        ("CREATE_CARD", "NEW", "Иван Иванов"),
        ("UPDATE_CARD", "IN_PROCESS", "Иван Петров"),
        ("MOVE_CARD", "CONVERTED", "Иван Петров"),
    ]


async def test_ids_are_dense_and_each_answer_is_its_own(http: httpx.AsyncClient) -> None:
    names = [f"Человек {n}" for n in range(50)]
    answers = await asyncio.gather(*(http.post("/users", json={**IVAN, "full_name": name}) for name in names))
    assert [answer.json()["full_name"] for answer in answers] == names
    ids = sorted(answer.json()["id"] for answer in answers)
    assert ids == list(range(ids[0], ids[0] + 50))


async def test_a_key_makes_a_request_once(http: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    together = await asyncio.gather(*(http.post("/users", json=IVAN, headers=key) for _ in range(5)))
    assert {answer.status_code for answer in together} == {201}
    assert len({answer.json()["id"] for answer in together}) == 1
    id = together[0].json()["id"]
    await http.patch(f"/users/{id}", json={"full_name": "Другой"})
    assert (await http.post("/users", json=IVAN, headers=key)).json() == {"id": id, **IVAN}, "the first one's answer"
    other = await http.post("/users", json={**IVAN, "stage": "JUNK"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    again = {"Idempotency-Key": str(uuid.uuid4())}
    for _ in range(2):
        missing = await http.post("/users/999999/move", json={"stage": "NEW"}, headers=again)
        assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({**IVAN, "phone": "87001112233"}, "phone: "),
        ({**IVAN, "stage": "NOWHERE"}, "stage: one of NEW, "),
        ({**IVAN, "age": 5}, "age: "),
        ({**IVAN, "full_name": "x" * 2000}, "full_name: "),
        ({**IVAN, "full_name": 7}, "full_name: "),
    ],
)
async def test_bad_input_names_its_field(http: httpx.AsyncClient, body: dict[str, Any], detail: str) -> None:
    answer = await http.post("/users", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(detail)


async def test_a_large_or_broken_body_is_refused(http: httpx.AsyncClient) -> None:
    head = {"content-type": "application/json"}
    assert (await http.post("/users", content=b"[" * 70_000, headers=head)).status_code == 413
    assert (await http.post("/users", content=b"[" * 30_000, headers=head)).status_code in (400, 422)
    assert (await http.post("/users", content=b'{"phone": "\xff"}', headers=head)).status_code in (400, 422)
