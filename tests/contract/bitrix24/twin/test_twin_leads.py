"""The twin's leads: what a portal ignores, adds, finds and pages (docs/contracts/bitrix24.md#twin)."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from adapters.bitrix24.twin.server import Bitrix24Twin
from tests.support.systems.bitrix24 import ask, fail


async def test_values_are_text_and_unknown_fields_are_ignored(http: httpx.AsyncClient) -> None:
    fields = {"OPPORTUNITY": 15000, "NOSUCH": 1, "ID": 77, "UF_CRM_1": 5, "OPENED": True, "NAME": 12, "POST": None}
    lead_id = await ask(http, "crm.lead.add", fields=fields)
    lead = await ask(http, "crm.lead.get", id=str(lead_id))
    assert lead["ID"] == str(lead_id) == "1"
    assert (lead["OPPORTUNITY"], lead["OPENED"], lead["NAME"], lead["UF_CRM_1"]) == ("15000.00", "Y", "12", "5")
    assert lead["TITLE"] == "Лид #1"
    assert lead["STATUS_ID"] == "NEW"
    assert "NOSUCH" not in lead


async def test_a_phone_without_id_is_added_and_one_with_id_is_changed(http: httpx.AsyncClient) -> None:
    lead_id = await ask(http, "crm.lead.add", fields={"PHONE": [{"VALUE": "+7701", "VALUE_TYPE": "WORK"}]})

    async def phones() -> list[dict[str, str]]:
        found: list[dict[str, str]] = (await ask(http, "crm.lead.get", id=lead_id)).get("PHONE", [])
        return found

    async def update(*items: dict[str, Any]) -> list[str]:
        assert await ask(http, "crm.lead.update", id=lead_id, fields={"PHONE": list(items)}) is True
        return [one["VALUE"] for one in await phones()]

    first = (await phones())[0]["ID"]
    assert await update({"VALUE": "+7702"}) == ["+7701", "+7702"], "no ID: added"
    assert await update({"ID": first, "VALUE": "+7703"}) == ["+7703", "+7702"], "ID: changed"
    assert await update({"ID": first, "DELETE": "Y"}) == ["+7702"]
    assert await update({"ID": (await phones())[0]["ID"], "VALUE": ""}) == []
    assert (await ask(http, "crm.lead.get", id=lead_id))["HAS_PHONE"] == "N"


async def test_a_phone_of_another_lead_is_not_changed_but_added(http: httpx.AsyncClient) -> None:
    await ask(http, "crm.lead.add", fields={"PHONE": [{"VALUE": "+7701"}]})
    other = await ask(http, "crm.lead.add", fields={})
    await ask(http, "crm.lead.update", id=other, fields={"PHONE": [{"ID": 1, "VALUE": "+7702"}]})
    assert (await ask(http, "crm.lead.get", id=1))["PHONE"][0]["VALUE"] == "+7701"
    assert (await ask(http, "crm.lead.get", id=other))["PHONE"][0]["VALUE"] == "+7702"


async def test_pages_of_fifty(http: httpx.AsyncClient) -> None:
    for n in range(120):
        await ask(http, "crm.lead.add", fields={"TITLE": f"t{n}"})
    pages = [
        (await http.post("crm.lead.list", json={"start": start, "select": ["ID"]})).json() for start in (0, 50, 100)
    ]
    assert [len(page["result"]) for page in pages] == [50, 50, 20]
    assert [page.get("next") for page in pages] == [50, 100, None]
    assert {page["total"] for page in pages} == {120}
    uncounted = (await http.post("crm.lead.list", json={"start": -1, "filter": {">ID": 100}})).json()
    assert (len(uncounted["result"]), uncounted["total"], "next" in uncounted) == (20, 0, False)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, [1, 2, 3, 4]),
        ({"ID": 2}, [2]),
        ({"@ID": [1, 3]}, [1, 3]),
        ({"!@ID": [1, 3]}, [2, 4]),
        ({"!ID": 1}, [2, 3, 4]),
        ({">ID": 1, "<ID": "4"}, [2, 3]),
        ({">=OPPORTUNITY": 100}, [2, 3]),
        ({"<=OPPORTUNITY": "99.50"}, [1, 4]),
        ({"%TITLE": "100%"}, [3]),
        ({"!%TITLE": "lead"}, [3, 4]),
        ({"=%TITLE": "lead%"}, [1, 2]),
        ({"%=TITLE": "%B"}, [2]),
        ({"=ORIGIN_ID": "X:1"}, [1, 2]),
        ({"ORIGIN_ID": ""}, [3, 4]),
        ({"!ORIGIN_ID": ""}, [1, 2]),
        ({"STATUS_ID": ["NEW", "JUNK"]}, [1, 2, 4]),
        ({"PHONE": "+7701"}, [4]),
        ({"NOSUCH": "x"}, [1, 2, 3, 4]),
        ({">DATE_CREATE": "2001-01-01"}, [1, 2, 3, 4]),
        ({">DATE_CREATE": "2999-01-01T00:00:00Z"}, []),
        ({"@ID": []}, []),
        ({"=TITLE": "' OR 1=1 --"}, []),
        ({"') OR 1=1 --": "x"}, [1, 2, 3, 4]),
    ],
)
async def test_filters(http: httpx.AsyncClient, wanted: dict[str, Any], found: list[int]) -> None:
    await ask(http, "crm.lead.add", fields={"TITLE": "lead a", "ORIGIN_ID": "x:1"})
    await ask(http, "crm.lead.add", fields={"TITLE": "lead b", "ORIGIN_ID": "X:1", "OPPORTUNITY": 100})
    await ask(http, "crm.lead.add", fields={"TITLE": "100% sure", "STATUS_ID": "PROCESSED", "OPPORTUNITY": 1000})
    await ask(http, "crm.lead.add", fields={"TITLE": "c", "STATUS_ID": "JUNK", "PHONE": [{"VALUE": "+7701"}]})
    rows = await ask(http, "crm.lead.list", filter=wanted)
    assert [int(row["ID"]) for row in rows] == found
    rows = await ask(http, "crm.lead.list", filter=wanted, order={"ID": "DESC"})
    assert [int(row["ID"]) for row in rows] == found[::-1]


async def test_multi_fields_and_user_fields_are_listed_only_by_name(http: httpx.AsyncClient) -> None:
    await ask(http, "crm.lead.add", fields={"TITLE": "a", "UF_CRM_1": "u", "PHONE": [{"VALUE": "+7701"}]})
    rows = {
        name: (await ask(http, "crm.lead.list", select=select))[0]
        for name, select in {"all": ["*"], "users": ["*", "UF_*"], "phone": ["TITLE", "PHONE"]}.items()
    }
    assert "UF_CRM_1" not in rows["all"]
    assert "PHONE" not in rows["all"]
    assert rows["users"]["UF_CRM_1"] == "u"
    assert rows["phone"].keys() == {"ID", "TITLE", "PHONE"}


async def test_custom_stages_and_simple_mode(twin: Bitrix24Twin, http: httpx.AsyncClient) -> None:
    async with httpx.AsyncClient(base_url=twin.url, trust_env=False) as control:
        await control.post("_twin/statuses", json={"status_id": "UC_1", "name": "Своя", "semantics": "F"})
        stages = await ask(http, "crm.status.list", filter={"ENTITY_ID": "STATUS"})
        assert [s["STATUS_ID"] for s in stages] == ["NEW", "IN_PROCESS", "UC_1", "PROCESSED", "CONVERTED", "JUNK"]
        lead_id = await ask(http, "crm.lead.add", fields={"STATUS_ID": "UC_1"})
        assert (await ask(http, "crm.lead.get", id=lead_id))["STATUS_SEMANTIC_ID"] == "F"
        assert await ask(http, "crm.settings.mode.get") == 1
        await control.post("_twin/mode", json={"mode": 2})
        assert await ask(http, "crm.settings.mode.get") == 2
        converted = await ask(http, "crm.lead.add", fields={"STATUS_ID": "NEW"})
        assert (await ask(http, "crm.lead.get", id=converted))["STATUS_ID"] == "CONVERTED"


async def test_contacts_are_found_in_any_spelling(http: httpx.AsyncClient) -> None:
    lead_id = await ask(http, "crm.lead.add", fields={"PHONE": [{"VALUE": "8 (999) 000-11-22"}]})
    found = await ask(http, "crm.duplicate.findbycomm", type="PHONE", values=["+79990001122"], entity_type="LEAD")
    assert found == {"LEAD": [lead_id]}
    assert await ask(http, "crm.duplicate.findbycomm", type="PHONE", values=["+7"]) == []
    assert (await fail(http, "crm.duplicate.findbycomm", type="FAX", values=["1"]))[0] == 400
    assert (await fail(http, "crm.duplicate.findbycomm", type="PHONE"))[2] == "Communication values is not defined"


async def test_comments(http: httpx.AsyncClient) -> None:
    lead_id = await ask(http, "crm.lead.add", fields={})
    fields = {"ENTITY_ID": lead_id, "ENTITY_TYPE": "lead", "COMMENT": "hello"}
    first, second = [await ask(http, "crm.timeline.comment.add", fields=fields) for _ in range(2)]
    assert first != second, "not idempotent"
    rows = await ask(http, "crm.timeline.comment.list", filter={"ENTITY_ID": lead_id, "ENTITY_TYPE": "lead"})
    assert [row["COMMENT"] for row in rows] == ["hello", "hello"]
    assert (await fail(http, "crm.timeline.comment.add", fields={**fields, "COMMENT": " "}))[1] == "INVALID_ARG_VALUE"
    assert (await fail(http, "crm.timeline.comment.add", fields={**fields, "ENTITY_ID": 9}))[1] == "OWNER_NOT_FOUND"
    assert (await fail(http, "crm.timeline.comment.add", fields={}))[1] == "100"


async def test_items_are_the_same_leads(http: httpx.AsyncClient) -> None:
    phone = {"typeId": "PHONE", "valueType": "WORK", "value": "+7701"}
    fields = {"title": "a", "originId": "o:1", "nosuch": 1, "ufCrm_1": "u", "fm": [phone, {"value": "no type"}]}
    item = (await ask(http, "crm.item.add", entityTypeId=1, fields=fields))["item"]
    lead = await ask(http, "crm.lead.get", id=item["id"])
    assert (lead["ORIGIN_ID"], lead["UF_CRM_1"], len(lead["PHONE"])) == ("o:1", "u", 1)
    change = {str(item["fm"][0]["id"]): {**phone, "value": "+7702"}, "n0": {**phone, "value": "+7703"}}
    item = (await ask(http, "crm.item.update", entityTypeId=1, id=item["id"], fields={"fm": change}))["item"]
    assert [one["value"] for one in item["fm"]] == ["+7702", "+7703"]
    page = await ask(http, "crm.item.list", entityTypeId=1, filter={"=originId": "o:1"}, select=["id", "title"])
    assert page == {"items": [{"id": item["id"], "title": "a"}]}
    assert (await fail(http, "crm.item.list", entityTypeId=1, filter={"nosuch": 1}))[1] == "INVALID_ARG_VALUE"
    bad_stage = await fail(http, "crm.item.update", entityTypeId=1, id=item["id"], fields={"stageId": "NOPE"})
    assert bad_stage[1] == "CRM_FIELD_ERROR_VALUE_NOT_VALID"
    assert (await fail(http, "crm.item.add", entityTypeId=1, fields={"fm": "x"}))[1] == "100"
