"""The portal's twin and a browser on the same machine: forms of another site, and filters that would be SQL."""

from __future__ import annotations

import httpx
import pytest

from adapters.bitrix24.twin.server import Bitrix24Twin

ADD = "/rest/1/twin/crm.lead.add?fields[TITLE]=x"


async def leads(http: httpx.AsyncClient) -> int:
    return int((await http.get("/_twin/status")).json()["leads"])


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
