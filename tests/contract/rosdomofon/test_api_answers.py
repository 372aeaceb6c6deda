"""Answers of RosDomofon's REST that are not as documented: no empty list, no end, and no neighbour lost."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from pydantic import SecretStr

from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.settings import RosDomofonSettings
from schemas.errors import (
    DeliveryUnavailable,
)
from tests.support.systems.rosdomofon import PHONE


@asynccontextmanager
async def answering(answer: Callable[[str], bytes]) -> AsyncIterator[RosDomofonAPI]:
    """An API whose operator answers so, by the path that is asked for."""

    def reply(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/oauth/token"):
            return httpx.Response(200, json={"access_token": "t"})
        return httpx.Response(200, content=answer(f"{request.url.path}?{request.url.query.decode()}"))

    settings = RosDomofonSettings(base_url="http://127.0.0.1:1", username="u", password=SecretStr("p"))
    async with RosDomofonAPI(settings) as api:
        api._rest._http._transport = httpx.MockTransport(reply)
        yield api


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"{}", b'{"content": []}', b'{"1": {"id": 1}}', b"<html>", b'[{"id": 1}', b"[7]", b'[{"x": 1}]'],
)
async def test_a_list_of_another_shape_is_not_an_empty_one(body: bytes) -> None:
    async with answering(lambda path: body) as api:
        for work in (
            api.get_accounts(),
            api.get_account_by_phone(PHONE),
            api.get_account_flats(1),
            api.get_account_connections(1),
        ):
            with pytest.raises(DeliveryUnavailable):
                await work  # type: ignore[misc]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"content": null}',
        b'{"content": {}}',
        b'{"items": []}',
        b'{"content": [], "last": false}',
        b'{"content": [5]}',
    ],
)
async def test_a_page_of_another_shape_is_not_the_end(body: bytes) -> None:
    async with answering(lambda path: body) as api:
        with pytest.raises(DeliveryUnavailable):
            [said async for said in api.iter_abonent_messages(1)]
        with pytest.raises(DeliveryUnavailable):
            [service async for service in api.get_services()]


async def test_one_row_that_can_not_be_read_does_not_lose_the_others() -> None:
    rows = [
        {"id": 1, "number": 5, "owner": {"id": 7, "phone": 375291234567}, "company": "SK", "balance": {"balance": "x"}},
        {"id": "?", "number": "lost"},
        "lost too",
        {"id": 2, "owner": {"id": 8, "phone": "+7 999 000-00-01"}},
    ]
    async with answering(lambda path: json.dumps(rows).encode()) as api:
        accounts = await api.get_accounts()
        assert [(a.id, a.number, a.owner and a.owner.phone) for a in accounts] == [
            (1, "5", "375291234567"),
            (2, None, PHONE),
        ]
        found = await api.get_account_by_phone(PHONE)
        assert found is not None
        assert found.id == 2
        with pytest.raises(DeliveryUnavailable, match="an account can't be read"):
            await api.get_account_by_phone("79990000009")


async def test_a_message_that_can_not_be_read_is_not_one_that_was_never_sent() -> None:
    page = {"content": [{"id": 3, "message": "А"}, {"message": "?"}], "last": True}
    async with answering(lambda path: json.dumps(page).encode()) as api:
        assert [said.id async for said in api.iter_abonent_messages(1)] == [3]
        with pytest.raises(DeliveryUnavailable, match="can't be read"):
            [said.id async for said in api.iter_abonent_messages(1, whole=True)]
