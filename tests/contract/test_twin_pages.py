"""Twins and the pages of a browser on the same machine: what another site's page asks for is not done."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from adapters.bitrix24.twin.server import Bitrix24Twin

ADD = "/rest/1/twin/crm.lead.add?fields[TITLE]=x"


@pytest.fixture
async def twin() -> AsyncIterator[Bitrix24Twin]:
    async with Bitrix24Twin() as twin:
        yield twin


async def leads(http: httpx.AsyncClient) -> int:
    return int((await http.get("/_twin/status")).json()["leads"])


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", ""])
async def test_a_name_that_points_here_is_not_answered(twin: Bitrix24Twin, host: str) -> None:
    async with httpx.AsyncClient(base_url=twin.url, trust_env=False) as http:
        for path in ("/", "/_twin/leads", ADD):
            assert (await http.get(path, headers={"Host": host})).status_code == 400, path
        assert await leads(http) == 0
        assert (await http.get("/", headers={"Host": f"localhost:{http.base_url.port}"})).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_another_sites_page_can_not_call(twin: Bitrix24Twin, site: str) -> None:
    async with httpx.AsyncClient(base_url=twin.url, trust_env=False, headers={"Sec-Fetch-Site": site}) as http:
        assert (await http.get(ADD)).status_code == 403
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert (
            await http.post("/rest/1/twin/crm.lead.add", content="fields[TITLE]=x", headers=form)
        ).status_code == 403
        assert (await http.get("/")).status_code == 200, "a link to the page"
        http.headers["Sec-Fetch-Site"] = "same-origin"
        assert await leads(http) == 0


async def test_a_leads_words_are_no_markup(twin: Bitrix24Twin) -> None:
    bad = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
    fields = {"TITLE": bad, "NAME": bad, "COMMENTS": bad, "ORIGIN_ID": bad, "STATUS_ID": bad,
              "PHONE": [{"VALUE": bad, "VALUE_TYPE": bad}]}  # fmt: skip
    async with httpx.AsyncClient(base_url=twin.url, trust_env=False) as http:
        assert (await http.post("/rest/1/twin/crm.lead.add", json={"fields": fields})).status_code == 200
        await http.post("/_twin/statuses", json={"status_id": bad, "name": bad})
        page = await http.get("/")
    assert "&lt;script&gt;" in page.text
    assert "<script" not in page.text
    assert "<img" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


@pytest.mark.parametrize(
    "name",
    [
        "UF_X') OR 1=1 --",
        "UF_X'",
        "=ID) OR (1=1",
        ">ID; DROP TABLE leads",
        "TITLE' OR '1'='1",
        "%TITLE\x00",
        "@PHONE')",
    ],
)
async def test_a_filter_is_no_sql(twin: Bitrix24Twin, name: str) -> None:
    async with httpx.AsyncClient(base_url=twin.webhook_url, trust_env=False) as http:
        await http.post("crm.lead.add", json={"fields": {"TITLE": "x"}})
        for value in ("' OR 1=1 --", ["x') OR 1=1 --"], {"a": "'"}):
            for method in ("crm.lead.list", "crm.item.list"):
                body = {"filter": {name: value}, "order": {name: "ASC; DROP TABLE leads"}, "entityTypeId": 1}
                assert (await http.post(method, json=body)).status_code in (200, 400), method
        found = (await http.post("crm.lead.list", json={})).json()
    assert found["total"] == 1
