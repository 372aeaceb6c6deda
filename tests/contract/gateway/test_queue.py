"""Pushed changes: each type, one and many, plain and encrypted; each bad body answered, none of it taken."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import httpx
import pytest
from aiokafka.errors import KafkaTimeoutError
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from fastapi import FastAPI
from pydantic import SecretStr

from adapters.brusnika.twin.changes import changes
from adapters.envelope import sealed
from kounter.gateway.app import create_app
from kounter.gateway.queue import MOST_BYTES, MOST_CHANGES, queue_router
from kounter.gateway.settings import GatewaySettings
from schemas.errors import InvalidInput
from schemas.record import contract
from tests.support.gateway import Pushed, Seat, client

CITY = {"ext_id": "c-1", "name": "Тюмень"}
PREMISE = {"ext_id": "p-1", "price": 5_000_000, "floor": 3}


@cache
def key() -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


def application(put: Pushed, token: str = "", key: RSAPrivateKey | None = None) -> FastAPI:
    tokens = GatewaySettings(token=SecretStr(token)).tokens()
    return create_app([], Seat(), tokens, queue=queue_router(put, key, tokens))


@asynccontextmanager
async def door(put: Pushed, token: str = "") -> AsyncIterator[httpx.AsyncClient]:
    async with client(application(put, token, key())) as http:
        yield http


async def test_every_type_is_taken_without_the_sockets_number() -> None:
    put = Pushed()
    stream = [c for c in changes(1, 400, faults=0, people=True) if c.row is not None]
    async with door(put) as http:
        for change in stream:
            said = json.loads(change.frame)["data"]
            answer = await http.post(f"/queue/{said['type'].replace('lead_op', 'lead-ops')}", json=said["data"])
            assert (answer.status_code, answer.json()) == (201, {"message": "SUCCESS"}), answer.text
    assert len({type(row) for row in put.rows}) == 15
    for row, change in zip(put.rows, stream, strict=True):
        counter = contract(type(row)).counter
        assert row == change.row._replace(**{counter: None})  # type: ignore[attr-defined, union-attr]


@pytest.mark.parametrize("is_sealed", [False, True])
async def test_one_and_many_plain_and_encrypted(is_sealed: bool) -> None:
    put = Pushed()

    def form(body: Any) -> Any:
        return sealed(key().public_key(), json.dumps(body).encode()) if is_sealed else body

    async with door(put) as http:
        assert (await http.post("/queue/premise", json=form(PREMISE))).status_code == 201
        many = {"data": [CITY, {"ext_id": "c-2"}]}
        assert (await http.post("/queue/city/many", json=form(many))).status_code == 201
    assert [row[0] for row in put.rows] == ["p-1", "c-1", "c-2"]


async def test_every_failure_of_decryption_has_the_same_answer() -> None:
    put, good = Pushed(), sealed(key().public_key(), json.dumps(PREMISE).encode())

    def changed(name: str, place: int) -> dict[str, str]:
        raw = bytearray(base64.b64decode(good[name]))
        raw[place] ^= 1
        return {**good, name: base64.b64encode(raw).decode()}

    wrong = [
        {**good, "data": "!!"}, {**good, "iv": "AAAA"}, {**good, "key": "AAAA"}, {**good, "data": None},
        changed("data", -17), changed("data", 0), changed("iv", 0), changed("key", 9),
        sealed(key().public_key(), b"{"), sealed(generate_private_key(65537, 2048).public_key(), b"{}"),
    ]  # fmt: skip
    async with door(put) as http, client(application(put)) as keyless:
        answers = [await http.post("/queue/premise", json=body) for body in wrong]
        answers.append(await keyless.post("/queue/premise", json=good))
    first = answers[0]
    assert first.status_code == 400
    for answer in answers:
        assert (answer.status_code, answer.content, answer.headers) == (first.status_code, first.content, first.headers)
    assert put.rows == []


BAD: list[tuple[str, bytes | dict[str, Any], int, str]] = [
    ("spaceship", CITY, 404, "type: expected one of agency"),
    ("city", {"name": "x"}, 422, "ext_id: expected a value"),
    ("city", {"ext_id": ""}, 422, "ext_id: expected a text of at least 1"),
    ("premise", b'{"ext_id": "p", "size": NaN}', 422, "document: expected JSON"),
    ("premise", {"ext_id": "p", "price": 2**64}, 422, "price: expected"),
    ("premise", b'{"ext_id": "p", "name": "\\ud800"}', 422, "name: expected a text of whole"),
    ("premise", b"[" * 500 + b"]" * 500, 422, "document: expected at most 32 levels"),
    ("premise", b'{"ext_id": "p", "ext_id": "q"}', 422, "ext_id: expected a name once"),
    ("premise", {"ext_id": "p", "type": "замок"}, 422, "type: expected one of"),
    ("premise", b'{"ext_id": "p", "name": "\xd0"}', 422, "document: expected UTF-8"),
    ("premise", b"[]", 422, "data: expected an object"),
    ("premise", b"", 422, "document: expected JSON"),
    ("premise", b"x" * (MOST_BYTES + 1), 413, "a body of more than"),
    ("city/many", {"data": [CITY, {"name": "x"}]}, 422, "data[1].ext_id: expected a value"),
    ("city/many", [CITY], 422, "data: expected a list"),  # type: ignore[list-item]
    ("city/many", {"data": [{"ext_id": "c"}] * (MOST_CHANGES + 1)}, 422, "data: expected a list of at most"),
]


@pytest.mark.parametrize(("path", "body", "status", "detail"), BAD)
async def test_a_bad_body_is_answered_with_what_to_mend(path: str, body: Any, status: int, detail: str) -> None:
    put = Pushed()
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with door(put) as http:
        answer = await http.post(f"/queue/{path}", content=raw)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].startswith(detail)
    assert put.rows == []


async def test_a_password_is_taken_and_shown_nowhere() -> None:
    put = Pushed()
    async with door(put) as http:
        good = await http.post("/queue/user", json={"ext_id": "u-1", "password": "hunter2", "firstName": "Анна"})
        bad = await http.post("/queue/user", json={"ext_id": "u-1", "password": "hunter2", "status": "замок"})
    assert (good.status_code, bad.status_code) == (201, 422)
    assert "hunter2" not in str(put.rows) + bad.text


async def test_what_kafka_does_not_take_is_no_success() -> None:
    put = Pushed()
    async with door(put) as http:
        put.failure = KafkaTimeoutError()
        assert (await http.post("/queue/city", json=CITY)).status_code == 503
        put.failure, put.refused = None, InvalidInput("name", "less", "much")
        assert (await http.post("/queue/city", json=CITY)).json()["detail"] == "name: expected less, came 'much'"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 401),
        ([("authorization", "Bearer wrong")], 401),
        ([("authorization", "Bearer \xe9".encode("latin-1"))], 401),
        ([("authorization", "Bearer secret"), ("authorization", "Bearer wrong")], 201),
        ([("authorization", "Bearer secret")], 201),
    ],
)
async def test_a_token_is_needed_where_one_is_set(headers: Any, status: int) -> None:
    async with door(Pushed(), "secret") as http:
        assert (await http.post("/queue/city", json=CITY, headers=headers)).status_code == status
