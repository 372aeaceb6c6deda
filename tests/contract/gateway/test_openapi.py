"""The gateway's OpenAPI document: names, types and operations that generated clients keep."""

from __future__ import annotations

import json
import re
from typing import Any

from kounter.gateway.app import create_app
from kounter.gateway.reader import resources
from kounter.gateway.resources import encode_cursor
from streams.domains import DOMAINS
from streams.domains.crm import CRM
from streams.domains.estate import ESTATE
from tests.support.gateway_answers import LEADS


def test_the_document_calls_things_by_their_names() -> None:
    """A lead was a CardChanged, a user a UserCreated: so generated clients called them."""
    document = create_app(resources(list(DOMAINS.values())), Any, users=Any).openapi()  # type: ignore[arg-type]
    schemas, paths = document["components"]["schemas"], document["paths"]
    for path, name, said in (
        ("/api/estate/leads", "Lead", "A purchase case"),
        ("/api/estate/premises", "Premise", "A flat, storeroom"),
        ("/api/crm/users", "User", "A user of the Core service"),
        ("/api/crm/core-users", "CoreUser", "A user of an outside Core service"),
        ("/api/crm/requests", "Request", ""),
        ("/api/domofon/sign-ups", "SignUp", "Somebody wants to be connected"),
    ):
        answer = paths[path + "/{ext_id}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert answer == {"$ref": f"#/components/schemas/{name}"}
        assert schemas[name]["description"].startswith(said)
        listed = paths[path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert listed == {"$ref": f"#/components/schemas/{name}List"}
    assert not {"CardChanged", "UserCreated", "CardAsked", "RequestBegun", "UserNumbered"} & set(schemas)
    assert not [name for name in schemas if "__" in name]


def test_the_document_is_typed() -> None:
    document = create_app(resources([ESTATE]), Any, users=Any).openapi()  # type: ignore[arg-type]
    parameters = {p["name"]: p["schema"] for p in document["paths"][LEADS]["get"]["parameters"]}
    assert parameters["state"]["enum"] == ["UNKNOWN", "ACTIVE", "IN_PROGRESS", "FAILED", "COMPLETE"]
    assert parameters["order"]["enum"] == ["ext_id", "-ext_id", "changed_at", "-changed_at"]
    assert parameters["lead_number"]["type"] == "integer"
    assert parameters["changed_at"]["format"] == "date-time"
    assert re.fullmatch(parameters["after"]["pattern"], encode_cursor("ext_id", ["ё", "a/b"]))
    assert parameters["fee"]["pattern"]
    lead = document["components"]["schemas"]["Lead"]
    assert lead["properties"]["state"]["enum"] == parameters["state"]["enum"]
    assert lead["required"] == ["ext_id", "version", "changed_at"]
    assert "null" not in json.dumps([lead, document["components"]["schemas"]["KnownUser"]])
    assert document["components"]["schemas"]["NewUser"]["required"] == ["full_name", "phone", "stage"]
    assert "null" not in json.dumps(document["components"]["schemas"]["NewUser"])


def test_operations_have_names_that_last() -> None:
    document = create_app(resources([ESTATE, CRM]), Any, users=Any).openapi()  # type: ignore[arg-type]
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))
    assert {
        "health", "health_live", "health_ready", "create_user", "change_user", "move_user", "get_user", "list_users",
        "list_estate_leads", "get_estate_lead", "get_estate_lead_timeline", "list_estate_cities", "list_crm_core_users",
    } <= set(ids)  # fmt: skip
