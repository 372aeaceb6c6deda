"""The client against the twin: what each failure means, and that the webhook's secret shows nowhere."""

from __future__ import annotations

import asyncio
import logging
import socket
import traceback
from typing import Any

import pytest
from loguru import logger
from pydantic import SecretStr

from adapters.bitrix24.rest.answers import Bitrix24Refused
from adapters.bitrix24.rest.client import Bitrix24Client
from adapters.bitrix24.settings import Bitrix24Settings
from adapters.bitrix24.twin.faults import KINDS, Fault
from adapters.bitrix24.twin.limits import Limits
from adapters.bitrix24.twin.server import Bitrix24Twin
from schemas.errors import BrokenSetup, DeliveryDenied, DeliveryError, DeliveryUnavailable, OutcomeUnknown
from tests.support.bitrix24 import client_of

CODE = "s3cr3tc0de1234567890"
TIMEOUT_S = 0.3

MEANINGS: dict[str, tuple[type[DeliveryError], type[DeliveryError]]] = {
    # what goes wrong: what it means for a read, and for a write
    "hang_before": (DeliveryUnavailable, OutcomeUnknown),
    "hang_after": (DeliveryUnavailable, OutcomeUnknown),
    "cut_after": (DeliveryUnavailable, OutcomeUnknown),
    "error_after": (DeliveryUnavailable, OutcomeUnknown),
    "not_json": (DeliveryUnavailable, OutcomeUnknown),
    "bad_gateway": (DeliveryUnavailable, OutcomeUnknown),
    "slow": (DeliveryUnavailable, OutcomeUnknown),
    "late": (DeliveryUnavailable, OutcomeUnknown),
    "too_many": (DeliveryUnavailable, DeliveryUnavailable),
    "unavailable": (DeliveryUnavailable, OutcomeUnknown),
    "INTERNAL_SERVER_ERROR": (DeliveryUnavailable, OutcomeUnknown),
    "ERROR_UNEXPECTED_ANSWER": (DeliveryUnavailable, OutcomeUnknown),
    "QUERY_LIMIT_EXCEEDED": (DeliveryUnavailable, DeliveryUnavailable),
    "OPERATION_TIME_LIMIT": (DeliveryUnavailable, DeliveryUnavailable),
    "OVERLOAD_LIMIT": (DeliveryDenied, DeliveryDenied),
    "PORTAL_DELETED": (DeliveryDenied, DeliveryDenied),
    "NO_AUTH_FOUND": (DeliveryDenied, DeliveryDenied),
    "expired_token": (DeliveryDenied, DeliveryDenied),
    "INVALID_CREDENTIALS": (DeliveryDenied, DeliveryDenied),
    "ACCESS_DENIED": (DeliveryDenied, DeliveryDenied),
    "insufficient_scope": (DeliveryDenied, DeliveryDenied),
    "user_access_error": (DeliveryDenied, DeliveryDenied),
    "INVALID_REQUEST": (Bitrix24Refused, Bitrix24Refused),
    "ERROR_METHOD_NOT_FOUND": (Bitrix24Refused, Bitrix24Refused),
    "ERROR_BATCH_LENGTH_EXCEEDED": (Bitrix24Refused, Bitrix24Refused),
    "ERROR_BATCH_METHOD_NOT_ALLOWED": (Bitrix24Refused, Bitrix24Refused),
}


def test_every_fault_has_a_meaning() -> None:
    assert MEANINGS.keys() == KINDS


@pytest.mark.parametrize("kind", sorted(MEANINGS))
async def test_what_a_failure_means(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(str(line)), level="TRACE", diagnose=True, backtrace=True)
    async with Bitrix24Twin(code=CODE) as twin, client_of(twin, TIMEOUT_S) as portal:
        for method, meaning in zip(("crm.lead.list", "crm.lead.add"), MEANINGS[kind], strict=True):
            twin.faults.plan(Fault(kind, seconds=3))
            with pytest.raises(DeliveryError) as failed:
                await portal.call(method, {})
            assert isinstance(failed.value, meaning)
            assert failed.value.kind == meaning.kind
            logger.opt(exception=failed.value).error("failed: {}", failed.value)
            shown = [str(failed.value), repr(failed.value), "".join(traceback.format_exception(failed.value))]
            assert not any(CODE in text for text in shown)
            assert CODE not in repr(portal)
        twin.faults.plan()
        await portal.call("profile", {})
    logger.remove(sink)
    httpx_lines = [r.getMessage() for r in caplog.records if r.name == "httpx"]
    assert any(f"POST {twin.url}… " in line for line in httpx_lines), "the host alone is shown"
    assert not [r for r in caplog.records if r.name.startswith(("httpx", "httpcore")) and CODE in r.getMessage()]
    assert lines


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


async def test_a_portal_that_is_not_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but it does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/rest/1/{CODE}/"
        async with Bitrix24Client(Bitrix24Settings(webhook_url=SecretStr(url))) as portal:
            with pytest.raises(DeliveryUnavailable, match=r"crm\.lead\.add: the portal can't be reached"):
                await portal.call("crm.lead.add", {})


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
        ("302 Found\r\nlocation: https://elsewhere.example/login", DeliveryDenied),
        ("404 Not Found", DeliveryDenied),
        ("401 Unauthorized", DeliveryDenied),
        ("413 Too Large", Bitrix24Refused),
        ("429 Slow\r\nretry-after: 7", DeliveryUnavailable),
        ("200 OK", OutcomeUnknown),
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
