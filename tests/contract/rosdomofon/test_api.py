"""All methods of the RosDomofon client against the twin, and what each failure means."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import SecretStr

from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.rest.client import RosDomofonRefused
from adapters.rosdomofon.rest.messages import NotDelivered
from adapters.rosdomofon.settings import RosDomofonSettings
from adapters.rosdomofon.twin.server import ENTRANCE, RosDomofonTwin
from schemas.errors import (
    BrokenSetup,
    InvalidInput,
)
from tests.support.systems.rosdomofon import PHONE, a_home, api_of, control


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
