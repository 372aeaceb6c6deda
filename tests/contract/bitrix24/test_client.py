"""The portal's client against the twin: its rate, its own answers and addresses; for the rest see the suites."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any

import pytest
from pydantic import SecretStr

from adapters.bitrix24.rest.answers import Bitrix24Refused
from adapters.bitrix24.rest.client import Bitrix24Client
from adapters.bitrix24.settings import Bitrix24Settings
from adapters.bitrix24.twin.faults import Fault
from adapters.bitrix24.twin.limits import Limits
from adapters.bitrix24.twin.server import Bitrix24Twin
from schemas.errors import BrokenSetup, DeliveryDenied, DeliveryError, DeliveryUnavailable, OutcomeUnknown
from tests.support.systems.bitrix24 import client_of

CODE = "s3cr3tc0de1234567890"
TIMEOUT_S = 0.3


async def test_what_is_done_late_is_done(twin: Bitrix24Twin) -> None:
    async with client_of(twin, TIMEOUT_S) as portal:
        twin.faults.plan(Fault("late", count=1, seconds=2 * TIMEOUT_S))
        with pytest.raises(OutcomeUnknown):
            await portal.call("crm.lead.add", {})
        assert (await portal.call("crm.lead.list", {})).total == 0
        await asyncio.sleep(1.5 * TIMEOUT_S)
        assert (await portal.call("crm.lead.list", {})).total == 1


async def test_calls_keep_to_the_rate_once_they_were_too_many() -> None:
    async with Bitrix24Twin(limits=Limits(capacity=10, drain_per_s=100)) as twin, client_of(twin) as portal:
        replies = await asyncio.gather(*(portal.call("crm.lead.add", {}) for _ in range(80)))
        assert len({reply.result for reply in replies}) == 80
        asked = sum(twin._app.requests.values())
        assert asked < 2 * 80, "most were let in at once"


async def test_when_to_come_back() -> None:
    clock = Clock()
    limits = Limits(capacity=1, operating_s=1, operating_cost_s=1)
    async with Bitrix24Twin(limits=limits, clock=clock) as twin, client_of(twin) as portal:
        portal._operating._clock = clock
        await portal.call("crm.lead.list", {})
        with pytest.raises(DeliveryUnavailable) as full:
            await portal.call("crm.lead.list", {})
        assert full.value.retry_after == 1.0
        clock.now += 60
        with pytest.raises(DeliveryUnavailable) as blocked:
            await portal.call("crm.lead.list", {})
        assert blocked.value.retry_after == 540.0
        clock.now += 540
        await portal.call("crm.lead.list", {})


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    "url",
    [
        "",
        "portal.example",
        f"https://portal.example/{CODE}",
        f"https://portal.example/rest/x/{CODE}/",
        f"https://portal.example/rest/1/{CODE}/crm.lead.add",
        f"https://u:p@portal.example/rest/1/{CODE}/",
        f"ftp://portal.example/rest/1/{CODE}/",
        f"http://portal.example/rest/1/{CODE}/",
        f"http://10.0.0.1/rest/1/{CODE}/",
    ],
)
def test_a_url_that_is_no_webhook_is_not_shown(url: str) -> None:
    with pytest.raises(BrokenSetup) as broken:
        Bitrix24Client(Bitrix24Settings(webhook_url=SecretStr(url)))
    assert CODE not in f"{broken.value.as_dict()}{''.join(traceback.format_exception(broken.value))}"
    assert "https://<portal>/rest" in broken.value.hint or "https" in broken.value.hint


@pytest.mark.parametrize("host", ["127.0.0.1:7181", "localhost:7181", "[::1]:7181", "twin-bitrix24:7181"])
async def test_plain_http_is_for_twins(host: str) -> None:
    url = SecretStr(f"http://{host}/rest/1/{CODE}/")
    async with Bitrix24Client(Bitrix24Settings(webhook_url=url)):
        pass


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        ("404 Not Found", DeliveryDenied),
        ("401 Unauthorized", DeliveryDenied),
        ("413 Too Large", Bitrix24Refused),
        ("429 Slow\r\nretry-after: 7", DeliveryUnavailable),
        ("503 Busy", OutcomeUnknown),
    ],
)
async def test_an_answer_that_is_not_a_portals(answer: str, meaning: type[DeliveryError]) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {answer}\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(reply, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/rest/1/{CODE}/"
    async with server, Bitrix24Client(Bitrix24Settings(webhook_url=SecretStr(url))) as portal:
        with pytest.raises(meaning):
            await portal.call("crm.lead.add", {})


async def test_a_portal_that_echoes_the_secret_is_not_quoted() -> None:
    async with Bitrix24Twin(code=CODE) as twin, client_of(twin) as portal:
        assert CODE not in repr(portal)
        kind = f"x{CODE}"[:20]
        with pytest.raises(Bitrix24Refused) as refused:
            await portal.call("crm.duplicate.findbycomm", {"type": kind, "values": [1]})
        assert kind in str(refused.value), "only the whole secret is scrubbed"
        twin.portal.leads.add({})
        reply = await portal.call("crm.lead.list", {})
        assert (reply.total, reply.next, reply.result[0]["ID"]) == (1, None, "1")


async def test_a_call_changes_nothing_of_its_parameters() -> None:
    params: dict[str, Any] = {"fields": {"TITLE": "имя \u2028 \x00"}}
    async with Bitrix24Twin() as twin, client_of(twin) as portal:
        added = await portal.call("crm.lead.add", params)
        lead = await portal.call("crm.lead.get", {"id": added.result})
    assert lead.result["TITLE"] == params["fields"]["TITLE"]
