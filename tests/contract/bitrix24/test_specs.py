"""The twin's answers beside those that the specs show."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from adapters.bitrix24.rest.php_form import parse_brackets
from adapters.bitrix24.twin.fields import FIELDS, MULTIFIELDS
from adapters.bitrix24.twin.server import Bitrix24Twin
from tests.support.systems.bitrix24 import SPECS, Listener, ask, needs_specs, register, sample


def example(method: str) -> Any:
    return json.loads((SPECS / "methods" / f"{method}.json").read_text("utf-8"))["resultExample"]


@needs_specs
async def test_a_lead_has_the_fields_of_the_documented_one(http: httpx.AsyncClient) -> None:
    phones = [{"VALUE": "+79990001122", "VALUE_TYPE": "OTHER"}]
    lead_id = await ask(http, "crm.lead.add", fields={"PHONE": phones})
    lead, documented = await ask(http, "crm.lead.get", id=lead_id), example("crm.lead.get")["result"]
    assert list(lead) == [name for name in documented if name != "IM"]
    assert lead["PHONE"][0].keys() == documented["PHONE"][0].keys()
    assert all(isinstance(v, str | None) for n, v in lead.items() if n != "PHONE")


@needs_specs
async def test_a_row_of_a_list_has_the_fields_of_the_documented_one(http: httpx.AsyncClient) -> None:
    await ask(http, "crm.lead.add", fields={"TITLE": "a"})
    row = (await ask(http, "crm.lead.list"))[0]
    documented = sample("crm.lead.list.response")["result"][0]
    assert row.keys() == {name for name in documented if not name.startswith("UF_")}
    same = [n for n in row if row[n] is not None and documented[n] is not None]
    assert {n: type(row[n]) for n in same} == {n: type(documented[n]) for n in same}


@needs_specs
async def test_an_item_has_types_and_names_of_the_documented_one(http: httpx.AsyncClient) -> None:
    fields = {"title": "a", "opportunity": 999.9, "fm": [{"typeId": "PHONE", "valueType": "WORK", "value": "+7999"}]}
    added = await ask(http, "crm.item.add", entityTypeId=1, fields=fields)
    item = (await ask(http, "crm.item.get", entityTypeId=1, id=added["item"]["id"]))["item"]
    documented = example("crm.item.get")["result"]["item"]
    named = {
        "title",
        "stageId",
        "stageSemanticId",
        "opportunity",
        "originId",
        "originatorId",
        "createdTime",
        "fm",
        "id",
    }
    assert named <= item.keys() & documented.keys()
    both = [n for n in item.keys() & documented.keys() if item[n] is not None and documented[n] is not None]
    assert {n: type(item[n]) for n in both} == {n: type(documented[n]) for n in both}
    assert item["fm"][0].keys() == documented["fm"][0].keys()
    assert await ask(http, "crm.item.delete", entityTypeId=1, id=item["id"]) == example("crm.item.delete")["result"]


@needs_specs
async def test_field_descriptors(http: httpx.AsyncClient) -> None:
    fields, documented = await ask(http, "crm.lead.fields"), example("crm.lead.fields")["result"]
    assert set(fields) == {*FIELDS, *MULTIFIELDS}
    for name in fields.keys() & documented.keys():
        told = {k: v for k, v in documented[name].items() if k not in ("title", "isDeprecated", "settings")}
        assert {k: v for k, v in fields[name].items() if k != "title"} == told, name
    items = (await ask(http, "crm.item.fields", entityTypeId=1))["fields"]
    assert items["stageId"]["type"] == "crm_status"


@needs_specs
@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("crm.lead.get", {"id": 404}),
        ("crm.lead.update", {"id": "no", "fields": {}}),
        ("crm.lead.delete", {}),
        ("crm.duplicate.findbycomm", {"values": ["+7999"]}),
        ("crm.item.add", {"entityTypeId": 77, "fields": {}}),
        ("crm.item.get", {"entityTypeId": 1, "id": 404}),
        ("crm.item.delete", {"entityTypeId": 1, "id": 404}),
    ],
)
async def test_an_error_is_the_documented_one(http: httpx.AsyncClient, method: str, params: dict[str, Any]) -> None:
    answer = await http.post(method, json=params)
    assert answer.status_code == 400
    assert answer.json() == sample(f"{method}.errors")["bodyExamples"][0]


@needs_specs
async def test_system_errors_are_the_documented_ones(twin: Bitrix24Twin, http: httpx.AsyncClient) -> None:
    ours = {
        "ERROR_MANIFEST_IS_NOT_AVAILABLE",  # of an app's manifest, not of a webhook
        "ACCESS_DENIED",  # has many texts
        "INVALID_REQUEST",  # the twin speaks plain http
    }
    for documented in sample("system-errors"):
        if documented["error"] in ours:
            continue
        async with httpx.AsyncClient(base_url=twin.url, trust_env=False) as control:
            await control.post("_twin/faults", json={"kind": documented["error"]})
        answer = await http.post("crm.lead.list", json={})
        told = {"httpStatus": answer.status_code, **answer.json()}
        told.pop("time", None)
        assert told == documented


@needs_specs
async def test_batch_shapes_are_the_documented_ones(http: httpx.AsyncClient) -> None:
    calls = {"a": "crm.nothing", "b": "crm.nothing"}
    for halt, name in ((0, "batch.error.halt0"), (1, "batch.error.halt1")):
        result, documented = await ask(http, "batch", halt=halt, cmd=calls), sample(name)["result"]
        assert result.keys() == documented.keys()
        assert len(result["result_error"]) == len(documented["result_error"])
        empty = {n for n, v in documented.items() if v == []}
        assert all(result[n] == [] for n in empty)


@needs_specs
async def test_the_event_is_the_documented_one(twin: Bitrix24Twin, http: httpx.AsyncClient) -> None:
    documented = sample("event.outgoing-webhook.structure")
    form = SPECS / "samples" / "event.outgoing-webhook.form.txt"
    async with Listener() as listener:
        await register(twin, listener.url)
        lead_id = await ask(http, "crm.lead.add", fields={"TITLE": "a"})
        await ask(http, "crm.lead.update", id=lead_id, fields={"TITLE": "b"})
        bodies = [await listener.next(), await listener.next()]
    assert parse_brackets(form.read_text("utf-8").strip()) == documented
    added, updated = (parse_brackets(body) for body in bodies)
    assert (added["event"], updated["event"]) == ("ONCRMLEADADD", "ONCRMLEADUPDATE")
    assert updated.keys() == documented.keys()
    assert updated["auth"].keys() == documented["auth"].keys()
    assert updated["data"] == {"FIELDS": {"ID": str(lead_id)}}
    assert updated["auth"]["application_token"] == "of the test"
