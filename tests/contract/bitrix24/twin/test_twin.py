"""The twin as a server: batches, forms, who may call, limits, control, events (docs/contracts/bitrix24.md#twin)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.bitrix24.twin.limits import Limits
from adapters.bitrix24.twin.server import Bitrix24Twin
from tests.support.systems.bitrix24 import Listener, ask, fail, plain, register


async def test_a_batch_uses_earlier_results(http: httpx.AsyncClient) -> None:
    cmd = {
        "add": "crm.lead.add?fields[TITLE]=%D0%9B%D0%B8%D0%B4&fields[PHONE][0][VALUE]=%2B7701",
        "get": "crm.lead.get?id=$result[add]",
        "copy": "crm.lead.add?fields[TITLE]=of $result[get][PHONE][0][VALUE]&fields[NAME]=$result[nothing][x]",
        "list": "crm.lead.list?select[]=ID&select[]=TITLE&select[]=NAME",
    }
    result = await ask(http, "batch", halt=0, cmd=cmd)
    assert result["result"]["list"] == [
        {"ID": "1", "TITLE": "Лид", "NAME": None},
        {"ID": "2", "TITLE": "of +7701", "NAME": ""},
    ]
    assert result["result_total"] == {"list": 2}
    assert (result["result_error"], result["result_next"]) == ([], [])
    assert result["result_time"].keys() == cmd.keys()


async def test_what_a_batch_can_not(http: httpx.AsyncClient) -> None:
    too_many = {f"c{n}": "profile" for n in range(51)}
    assert (await fail(http, "batch", cmd=too_many))[:2] == (400, "ERROR_BATCH_LENGTH_EXCEEDED")
    result = await ask(http, "batch", cmd=["batch?cmd[a]=profile", "profile"])
    assert result["result_error"] == [
        {"error": "ERROR_BATCH_METHOD_NOT_ALLOWED", "error_description": "Method is not allowed for batch usage"}
    ]
    assert list(result["result"]) == ["1"]
    stopped = await ask(http, "batch", halt=1, cmd=["crm.nothing", "crm.lead.add?fields[TITLE]=x"])
    assert stopped["result"] == []
    assert await ask(http, "crm.lead.list") == []


async def test_forms_and_queries_are_read_too(http: httpx.AsyncClient) -> None:
    form = {"fields[TITLE]": "форма", "fields[PHONE][0][VALUE]": "+7701"}
    answer = await http.post("crm.lead.add.json", data=form)
    lead = (await http.get("crm.lead.get", params={"id": answer.json()["result"]})).json()["result"]
    assert (lead["TITLE"], lead["PHONE"][0]["VALUE"]) == ("форма", "+7701")


async def test_who_may_call(twin: Bitrix24Twin) -> None:
    base = f"{twin.url}rest/"
    expected = {
        "crm.lead.list": (401, "NO_AUTH_FOUND"),
        "1/wrong/crm.lead.list": (403, "INVALID_CREDENTIALS"),
        "2/twin/crm.lead.list": (403, "INVALID_CREDENTIALS"),
        "1/twin/crm.lead.list": (200, None),
        "1/twin/crm.nothing": (404, "ERROR_METHOD_NOT_FOUND"),
        "1/twin/app.info": (403, "ACCESS_DENIED"),
        "1/twin/event.bind": (403, "ACCESS_DENIED"),
    }
    async with httpx.AsyncClient(base_url=base, trust_env=False) as http:
        for path, (status, code) in expected.items():
            answer = await http.post(path, json={})
            assert (answer.status_code, answer.json().get("error")) == (status, code), path


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"a":' * 50_000,
        b"\xff\xfe",
        b"[1]",
        b'"x"',
        b'{"fields": {"UF_CRM_1": [NaN]}}',
        b'{"type": "\\uD800"}',
        b'{"fields": "x"}',
        b'{"fields": {"PHONE": "x"}, "id": []}',
    ],
)
async def test_bad_bodies_do_not_break_it(http: httpx.AsyncClient, body: bytes) -> None:
    for method in ("crm.lead.update", "crm.duplicate.findbycomm", "crm.timeline.comment.add", "crm.item.add"):
        answer = await http.post(method, content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400
        assert "error" in answer.json()
    assert await ask(http, "profile")


async def test_a_body_that_is_too_large(http: httpx.AsyncClient) -> None:
    answer = await http.post("crm.lead.add", content=b'{"fields":{"TITLE":"' + b"x" * (5 << 20) + b'"}}')
    assert (answer.status_code, answer.json()["error"]) == (413, "INVALID_REQUEST")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


async def test_the_bucket_holds_fifty_and_two_leave_each_second() -> None:
    clock = Clock()
    async with Bitrix24Twin(limits=Limits(), clock=clock) as twin, plain(twin) as http:
        statuses = [(await http.post("profile", json={})).status_code for _ in range(52)]
        assert statuses == [200] * 50 + [503] * 2
        assert (await fail(http, "profile"))[1:] == ("QUERY_LIMIT_EXCEEDED", "Too many requests")
        clock.now += 1
        assert [(await http.post("profile", json={})).status_code for _ in range(3)] == [200, 200, 503]
        clock.now += 25
        batch = {"cmd": {f"c{n}": "profile" for n in range(50)}}
        assert [(await http.post("batch", json=batch)).status_code for _ in range(3)] == [200] * 3, "one each"


async def test_a_method_that_used_up_its_operating_time() -> None:
    clock = Clock()
    limits = Limits(capacity=10_000, operating_cost_s=100)
    async with Bitrix24Twin(limits=limits, clock=clock) as twin, plain(twin) as http:
        for _ in range(4):
            await ask(http, "crm.lead.list")
            clock.now += 60
        first = (await http.post("crm.lead.list", json={})).json()["time"]
        assert first["operating"] == pytest.approx(500, abs=1), "the sum so far"
        answer = await http.post("crm.lead.list", json={})
        assert (answer.status_code, answer.json()["error"]) == (429, "OPERATION_TIME_LIMIT")
        reset_at = answer.json()["time"]["operating_reset_at"]
        assert first["operating_reset_at"] == reset_at == 1_800_000_000 + 600
        assert (await http.post("profile", json={})).status_code == 200, "each method for itself"
        inner = await ask(http, "batch", cmd={"a": "crm.lead.list", "b": "profile"})
        assert inner["result_error"]["a"]["error"] == "OPERATION_TIME_LIMIT"
        clock.now = reset_at
        assert (await http.post("crm.lead.list", json={})).status_code == 200


async def test_what_happened_to_a_lead_is_told(twin: Bitrix24Twin, http: httpx.AsyncClient) -> None:
    for _ in range(2):
        lead_id = await ask(http, "crm.lead.add", fields={"TITLE": "a", "ORIGIN_ID": "o:1"})
    await ask(http, "crm.lead.update", id=lead_id, fields={"STATUS_ID": "JUNK", "TITLE": "a"})
    async with httpx.AsyncClient(base_url=f"{twin.url}_twin/", trust_env=False) as control:
        await control.patch(f"leads/{lead_id}", json={"fields": {"NAME": "Анна"}})
        await control.delete("leads/1")
        assert (await control.delete("leads/1")).status_code == 404
        told = (await control.get("leads", params={"origin_id": "o:1"})).json()
        assert told["creations"] == {"o:1": 2}
        assert [lead["deleted"] for lead in told["leads"]] == [True, False]
        history = told["leads"][1]["history"]
        assert [(h["action"], h["by"]) for h in history] == [("add", "api"), ("update", "api"), ("update", "person")]
        assert history[1]["changes"] == {"STATUS_ID": ["NEW", "JUNK"]}
        assert (await control.get("leads")).json() == told
        status = (await control.get("status")).json()
        assert (status["leads"], status["requests"]["crm.lead.add"]) == (1, 2)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("faults", {"kind": "nosuch"}),
        ("faults", {"kind": "slow", "rate": 2}),
        ("faults", {"kind": "slow", "methods": "crm.lead.add"}),
        ("faults", "x"),
        ("faults", {"kind": "slow", "more": 1}),
        ("limits", {"capacity": 0}),
        ("webhook", {"url": "file:///etc/passwd", "application_token": "x"}),
        ("webhook", {"url": "http://127.0.0.1/", "application_token": "x", "events": ["X"]}),
        ("webhook", {"url": "http://127.0.0.1/", "application_token": "x", "events": 5}),
        ("webhook", {"url": "http://127.0.0.1/", "application_token": 5}),
        ("webhook", {"url": 5, "application_token": "x"}),
        ("mode", {"mode": 3}),
        ("statuses", {}),
        ("leads", {"fields": 1}),
    ],
)
async def test_control_says_what_is_wrong(twin: Bitrix24Twin, path: str, body: Any) -> None:
    async with httpx.AsyncClient(base_url=f"{twin.url}_twin/", trust_env=False) as control:
        answer = await control.post(path, json=body)
        assert answer.status_code == 422
        assert answer.text.strip()
        assert (await control.post(path, content=json.dumps(body))).status_code == 415, "no browser's form"


async def test_the_page_escapes_what_it_shows(twin: Bitrix24Twin, http: httpx.AsyncClient) -> None:
    evil = "<script>alert(1)</script>\"'"
    fields = {"TITLE": evil, "ORIGIN_ID": evil, "PHONE": [{"VALUE": evil}], "COMMENTS": evil, "STATUS_ID": evil}
    await ask(http, "crm.lead.add", fields=fields)
    async with httpx.AsyncClient(base_url=twin.url, trust_env=False) as browser:
        page = await browser.get("")
    assert "<script" not in page.text
    assert page.text.count("&lt;script&gt;") >= 5
    assert "default-src 'none'" in page.headers["content-security-policy"]


async def test_leads_survive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "twin.db"
    for n in (1, 2):
        async with Bitrix24Twin(db_path=path) as twin, plain(twin) as http:
            assert await ask(http, "crm.lead.add", fields={"TITLE": "a"}) == n
            assert len(await ask(http, "crm.lead.list")) == n


async def test_a_change_by_a_person_is_told_once_even_if_nobody_takes_it(twin: Bitrix24Twin) -> None:
    async with Listener(status=500) as listener, httpx.AsyncClient(base_url=twin.url, trust_env=False) as control:
        await register(twin, listener.url)
        await control.post("_twin/leads", json={"fields": {"TITLE": "a"}})
        assert "ONCRMLEADADD" in await listener.next()
        await control.delete("_twin/leads/1")
        assert "ONCRMLEADDELETE" in await listener.next()
        await asyncio.sleep(0.05)
        assert (await control.get("_twin/status")).json()["events_failed"] == 2
        assert listener.empty
