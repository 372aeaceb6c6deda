"""All methods of the RosDomofon client against the twin, and what each failure means."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from loguru import logger
from pydantic import SecretStr

from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.rest.client import RosDomofonRefused
from adapters.rosdomofon.rest.messages import NotDelivered
from adapters.rosdomofon.settings import RosDomofonSettings
from adapters.rosdomofon.twin.faults import Fault, OwnWay
from adapters.rosdomofon.twin.server import ENTRANCE, RosDomofonTwin
from adapters.twin_kit.faults import Way
from schemas.errors import (
    BrokenSetup,
    DeliveryDenied,
    DeliveryError,
    DeliveryUnavailable,
    InvalidInput,
    OutcomeUnknown,
)
from tests.support.rosdomofon import PHONE, a_home, api_of, control

TIMEOUT_S = 0.3
MEANINGS: dict[Way, tuple[type[DeliveryError] | None, type[DeliveryError] | None]] = {
    # what goes wrong: what it means for a read, and for a write; None: nothing
    OwnWay.TOKEN_EXPIRED: (None, None),
    OwnWay.DENIED: (DeliveryDenied, DeliveryDenied),
    OwnWay.NOT_DELIVERED: (None, NotDelivered),
    Way.TOO_MANY: (DeliveryUnavailable, DeliveryUnavailable),
    Way.UNAVAILABLE: (DeliveryUnavailable, DeliveryUnavailable),
    Way.BAD_GATEWAY: (DeliveryUnavailable, OutcomeUnknown),
    Way.HANG_BEFORE: (DeliveryUnavailable, OutcomeUnknown),
    Way.HANG_AFTER: (DeliveryUnavailable, OutcomeUnknown),
    Way.CUT_AFTER: (DeliveryUnavailable, OutcomeUnknown),
    Way.ERROR_AFTER: (DeliveryUnavailable, OutcomeUnknown),
    Way.NOT_JSON: (DeliveryUnavailable, OutcomeUnknown),
    Way.SLOW: (DeliveryUnavailable, OutcomeUnknown),
    Way.LATE: (DeliveryUnavailable, OutcomeUnknown),
}


def test_every_fault_has_a_meaning() -> None:
    assert MEANINGS.keys() == Fault.kinds


@pytest.mark.parametrize("way", sorted(MEANINGS))
async def test_what_a_failure_means(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(str(line)), level="TRACE", diagnose=True, backtrace=True)
    password = "s3cr3t-p4ssword"
    async with RosDomofonTwin(password=password) as twin, api_of(twin, TIMEOUT_S) as api:
        abonent = twin.operator.add_abonent(int(PHONE))
        for call, meaning in (("GET /services/{id}/connections", 0), ("POST /messages", 1)):
            count = 1 if way is OwnWay.TOKEN_EXPIRED else None
            twin.faults.plan(Fault(kind=way, seconds=3, calls=(call,), count=count))
            expected = MEANINGS[way][meaning]
            work = api.get_service_connections(12_345) if meaning == 0 else api.send_message([abonent], "support", "А")
            if expected is None or (way is OwnWay.NOT_DELIVERED and meaning == 0):
                await work  # type: ignore[misc]
                continue
            with pytest.raises(DeliveryError) as failed:
                await work  # type: ignore[misc]
            assert isinstance(failed.value, expected)
            logger.opt(exception=failed.value).error("failed: {}", failed.value)
            shown = "".join(traceback.format_exception(failed.value))
            assert password not in shown
        got = twin.operator.got(abonent)
    logger.remove(sink)
    after = {Way.HANG_AFTER, Way.CUT_AFTER, Way.ERROR_AFTER, Way.NOT_JSON, Way.SLOW, OwnWay.TOKEN_EXPIRED}
    assert got == (["А"] if way in after else [])
    logged = "".join(lines) + "".join(r.getMessage() for r in caplog.records)
    assert password not in logged
    assert PHONE not in logged


async def test_all_methods_of_the_published_library() -> None:
    async with RosDomofonTwin() as twin, api_of(twin) as api:
        assert (await api.authenticate()).token_type == "bearer"
        home = await a_home(api)
        (account,) = await api.get_accounts()
        assert (account.number, account.owner and account.owner.phone) == ("ACC123456", PHONE)
        assert (await api.get_account_by_phone(PHONE)) == account
        assert await api.get_account_by_phone("79990000009") is None
        full = await api.get_account(home.account_id)
        assert full.balance
        assert full.balance.balance == 1500.5
        assert full.connections
        (flat,) = await api.get_account_flats(home.account_id)
        assert flat.address
        assert flat.address.line() == "Чебоксары, Филиппа Лукина, 5, подъезд 1, кв. 1"
        (connection,) = await api.get_account_connections(home.account_id)
        assert connection.service
        assert [c.id for c in await api.get_service_connections(connection.service.id)] == [home]
        await api.block_account("ACC123456")
        await api.block_connection(home)
        assert (await api.get_account(home.account_id)).blocked
        assert (await api.get_account_connections(home.account_id))[0].blocked
        await api.unblock_account("ACC123456")
        await api.unblock_connection(home)
        assert not (await api.get_account(home.account_id)).blocked
        assert not (await api.get_account_connections(home.account_id))[0].blocked
        assert [e.id async for e in api.get_entrances("филиппа")] == [ENTRANCE]
        assert [e.id async for e in api.get_entrances("нет такой")] == []
        assert len([s async for s in api.get_services()]) == 3
        assert (await api.send_message_to_abonent(home.abonent_id, "support", "Привет")).success
        twin.operator.keep_message(home.abonent_id, int(PHONE), "support", True, "Здравствуйте", "app")
        messages = await api.get_abonent_messages(home.abonent_id)
        first = messages.content[0]
        assert (first.message, first.incoming, messages.total_elements) == ("Здравствуйте", True, 2)
        assert first.abonent
        assert first.abonent.phone == PHONE
        assert (await api.get_abonent_messages(home.abonent_id, channel="notification")).content == []


async def test_a_sign_up_gets_its_status() -> None:
    async with RosDomofonTwin() as twin, api_of(twin) as api:
        twin.operator.keep_sign_up({"id": 7, "status": "UNPROCESSED"})
        await api.set_sign_up_status(7, "rejected", rejected_reason="Неверный адрес")
        assert twin.operator.store.get("sign_up", 7) == {
            "id": 7,
            "status": "REJECTED",
            "rejectedReason": "Неверный адрес",
        }
        with pytest.raises(InvalidInput):
            await api.set_sign_up_status(7, "done")
        with pytest.raises(RosDomofonRefused) as refused:
            await api.set_sign_up_status(8, "processed")
        assert refused.value.not_found


async def test_pages_are_walked_to_the_last() -> None:
    async with RosDomofonTwin() as twin, api_of(twin) as api:
        abonent = twin.operator.add_abonent(int(PHONE))
        ids = [twin.operator.keep_message(abonent, int(PHONE), "support", True, str(n), "app") for n in range(250)]
        assert [m.id async for m in api.iter_abonent_messages(abonent)] == ids[::-1]
        assert twin.app.requests["GET /abonents/{id}/messages"] == 3
        page = await api.get_abonent_messages(abonent, page=2, size=100)
        assert (page.last, page.number_of_elements, page.total_pages) == (True, 50, 3)


async def test_one_token_is_got_for_many_requests_and_renewed_once() -> None:
    async with RosDomofonTwin() as twin, api_of(twin) as api:
        await asyncio.gather(*(api.get_accounts() for _ in range(10)))
        assert twin.app.tokens.given == 1
        await control(twin, "tokens", {"expire": True})
        await asyncio.gather(*(api.get_accounts() for _ in range(10)))
        assert twin.app.tokens.given == 2
        await control(twin, "tokens", {"uses": 3, "expire": True})
        for number in range(12):
            await api.create_account(f"N{number}", PHONE)
        assert len(await api.get_accounts()) == 12
        assert (await control(twin, "status"))["tokens_given"] == 2 + 5


async def test_not_delivered_names_the_abonents() -> None:
    async with RosDomofonTwin() as twin, api_of(twin) as api:
        good, bad = twin.operator.add_abonent(79990000001), twin.operator.add_abonent(79990000002)
        await control(twin, "unreachable", [bad])
        with pytest.raises(NotDelivered, match=f"{bad} ") as failed:
            await api.send_message([good, {"id": bad, "phone": "79990000002"}, 5], "support", "Привет")
        assert failed.value.failed == (bad, 5)
        assert [r.id for r in failed.value.results if r.success] == [good]
        assert (twin.operator.got(good), twin.operator.got(bad)) == (["Привет"], [])


async def test_wrong_credentials_are_denied() -> None:
    async with RosDomofonTwin() as twin:
        wrong = twin.settings().model_copy(update={"password": SecretStr("wrong")})
        async with RosDomofonAPI(wrong) as api:
            with pytest.raises(DeliveryDenied, match="Bad credentials"):
                await api.get_accounts()


async def test_nobody_there_is_unavailable() -> None:
    async with RosDomofonTwin() as twin:
        settings = twin.settings()
    async with RosDomofonAPI(settings) as api:
        with pytest.raises(DeliveryUnavailable, match="can't be reached"):
            await api.create_account("A", PHONE)


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("create_account", ("A", "9131234567")),
        ("create_account", ("A", "+79131234567")),
        ("create_account", ("A\r\nHost: x", PHONE)),
        ("create_account", ("", PHONE)),
        ("get_account", ("1/../2",)),
        ("get_account", (-1,)),
        ("get_account", (2**63,)),
        ("block_account", ("..",)),
        ("block_connection", (True,)),
        ("send_message", ([], "support", "A")),
        ("send_message", ([1], "fax", "A")),
        ("send_message", ([1], "support", "")),
        ("create_flat", ("26959/../1", "1")),
        ("get_account_by_phone", ("7913",)),
    ],
)
async def test_what_can_not_be_right_is_not_sent(method: str, values: tuple[Any, ...]) -> None:
    async with RosDomofonTwin() as twin, api_of(twin) as api:
        with pytest.raises(InvalidInput) as refused:
            await getattr(api, method)(*values)
        assert not twin.app.requests
        assert PHONE not in str(refused.value)


async def test_an_account_number_stays_one_segment_of_the_path() -> None:
    async with RosDomofonTwin() as twin, api_of(twin) as api:
        await api.create_account("A 1?б#%2F", PHONE)
        await api.block_account("A 1?б#%2F")
        assert (await api.get_accounts())[0].blocked
        with pytest.raises(RosDomofonRefused):
            await api.block_account("A/b")


@pytest.mark.parametrize(
    "url", ["http://rdba.rosdomofon.com", "ftp://127.0.0.1", "", "https://", "https://a:b@host", "http://twin:1"]
)
def test_an_address_that_is_none_or_not_safe(url: str) -> None:
    with pytest.raises(BrokenSetup):
        RosDomofonAPI(RosDomofonSettings(base_url=url, username="u", password=SecretStr("p")))


async def test_memory_survives_a_restart(tmp_path: Any) -> None:
    path = tmp_path / "twin.db"
    async with RosDomofonTwin(db_path=path) as twin, api_of(twin) as api:
        await a_home(api)
    async with RosDomofonTwin(db_path=path) as twin, api_of(twin) as api:
        assert [a.number for a in await api.get_accounts()] == ["ACC123456"]
        assert [h["what"] for h in await control(twin, "history")] == ["account created", "flat created", "connected"]


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
